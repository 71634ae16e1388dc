// Package rxkad is Rx security class 2, the one of every OpenAFS cell: a client shows a Kerberos
// ticket, and both sides prove with every packet that they know the session key in it.
//
// # What it protects, and what not
//
// Its cipher, fcrypt, has a key of 56 bits and is weaker than that. Whoever can record a connection can find
// the key by trying. Take rxkad for what it is: it keeps out whoever cannot see the traffic, and
// honest programs that have no ticket. docs/security.md says it in full. The levels:
//
//	Plain    the checksum of each header says that the packet belongs to the connection;
//	         data can be read and changed on the way
//	Auth     and the length of the data is sealed; data can still be read, and changed after the
//	         first four bytes
//	Encrypt  and the data is encrypted; it can be changed on the way, with luck unnoticed
//
// Use Encrypt, unless what is carried is public and only speed counts. A server says with ServerConfig.MinLevel
// what it does not go below.
//
// # Tickets
//
// A Token is what a client has: a ticket that only the service can open, and the session key in it. It
// comes from a key distribution centre, a keyring (package rxrpc/keyring), or is made with the service's own
// key (LocalAuth), as commands with -localauth do on a server. Three kinds of ticket are understood:
// Kerberos 4 (any key version below 256 but 213), Kerberos 5 (256), and the encrypted part of one
// alone (213). Kerberos 5 tickets may have any encryption type that has keys; session keys that are
// not DES keys are made into ones (rxkad-kdf).
//
// # Keys
//
// A Key does not print, log or marshal. Wipe forgets it, and connections wipe theirs when they
// end. What is received is never decrypted where it was received (CVE-2026-43500).
//
// Sources: Linux net/rxrpc/rxkad.c (7.3), OpenAFS src/rxkad, rx-spec.txt,
// draft-kaduk-afs3-rxkad-k5-kdf-00. Where the two implementations differ a comment says which is followed.
package rxkad
