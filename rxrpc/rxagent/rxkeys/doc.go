// Package rxkeys has the keys of the RxRPC agent: Keys is the agent's side, which keeps them, Client the side of a process.
//
// Each user id has a keyring of its own in the agent's process, as each has one in the kernel: all processes of the user share it, it
// is made when it is first needed and goes when nothing is in it and no process of the user is there. What a socket's options name (RXRPC_SECURITY_KEY,
// RXRPC_SECURITY_KEYRING) is looked up in the keyring of the user whose socket it is, and nowhere else.
//
// # What nobody can do
//
// There is no operation that returns a payload: a key that is in cannot be taken out again, not by its owner and not by root. It is
// in no message that the agent sends, no log, no trace (Describe), no description.
//
// For a process keys of other users do not exist: their numbers are ENOKEY. Their owner may let them in with
// SetPerm, as with keyctl(1). Root sees and manages the keys of everybody, and uses its own.
//
// On its way in a payload of a Client is sealed for the agent (HPKE, RFC 9180), so that monitors of the bus, captures and other hosts'
// bridges have nothing of it. Other clients may send it as it is.
package rxkeys
