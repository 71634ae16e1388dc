// Package keyring keeps the keys of RxRPC as Linux's key service does: keys have a type, a
// description, an owner, permissions and a time when they end; keyrings hold keys and other keyrings, and keys
// are found in them by type and description. Everything can change while clients and servers run: what is asked
// for is looked up when it is needed.
//
// # Types
//
//	rxrpc     what a client proves itself with. The payload is empty (no security), version 1 of the native
//	          form, or XDR with up to eight tokens (net/rxrpc/key.c). Description by custom: afs@CELL
//	rxrpc_s   a service's key. "52:2" is the DES key of service 52 for rxkad, 8 bytes; "52:2:5:18" (of this
//	          package) its key version 5 of encryption type 18
//	keyring   holds others; no payload
//
// # Where keys come from
//
// A Store is memory. Request asks its Sources for what is not there: the kernel's keyrings (Kernel). A server's keys also
// come from OpenAFS's files (KeyFile, KeyFileExt, Keytab), which are read again when they change and refused if
// others than their owner may read them.
//
// # Sockets
//
// A KeySource gives the sockets of package rxrpc what their options name. Keys can be added, changed and revoked meanwhile; it says what
// follows for connections and calls.
//
// # Errors
//
// Every error is an *Error that wraps the errno which add_key, request_key and keyctl have for it.
//
// # Differences from Linux
//
// A Cred says whose rights count, because the caller is a goroutine and not a process. Keys of
// types rxrpc and rxrpc_s can be updated in place (Linux makes a new key). A keyring that
// NewKeyring made lives until Drop. There is no upcall to /sbin/request-key. A key that is taken out of its last keyring is gone
// for who has found it, too: new connections do not begin with it; those that have begun go on.
//
// Sources: Linux net/rxrpc/key.c, server_key.c (7.3), keyctl(2), keyrings(7); OpenAFS src/auth/keys.c for its files.
package keyring
