// Package rxdebug asks an Rx endpoint what it is doing, as OpenAFS's program of
// that name does: its version, its counters, its connections and its peers.
//
// A [Client] sends one request at a time over UDP and repeats it until the answer
// comes: after 1, 2, 4, 8 and 16 seconds, by default. OpenAFS answers anybody;
// other Rx implementations answer some requests or none. Linux knows the version
// only, and refuses the rest at once: [ErrNotSupported]. Where nobody listens, the
// host says so if it can, and the error is ECONNREFUSED.
//
// Connections and peers come one by one, each by its index. The endpoint goes on
// meanwhile, so that one may be missing or come twice; and it looks for each from
// the start of its table, so that thousands take their time. IPv6 is spoken, but
// the records have room for IPv4 addresses only.
//
// Nothing of this is authenticated. What an endpoint tells is a stranger's word:
// texts are made printable, numbers are as they came.
//
// Sources: OpenAFS's doc/txt/rx-debug.txt, rx.h, and what its servers answer.
package rxdebug
