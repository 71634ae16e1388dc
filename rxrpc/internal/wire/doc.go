// Package wire is the format of RxRPC packets: every packet type, every field,
// in both directions. It has no state, no socket and no clock.
//
//	UDP payload:  header (28) | body
//	DATA:         header | 1412 bytes | jumbo header (4) | 1412 bytes | ... | last bytes
//	ACK:          header | 18 bytes | soft acks (0..255) | 3 zeros | trailer (0..4 words) | zeros
//	ABORT:        header | code (4)
//	BUSY, ACKALL: header
//	CHALLENGE, RESPONSE: header | what the security class says
//	VERSION:      header | one zero, or 65 bytes of text
//	DEBUG:        header | type, index, or a record
//
// Everything is big-endian.
//
// # Parsing
//
// A Parse function takes the bytes that arrived and returns a view of them:
// slices in its result point into its argument and are valid as long as that
// is. None of them panics, keeps anything or allocates (those that return a
// string do), whatever the bytes; a count in the packet is never believed
// before the bytes have been counted. Bytes that cannot be what they are parsed
// as give an [*Error], which is [ErrTruncated] or [ErrMalformed].
//
// The lengths of all past protocol versions are accepted where a peer may still
// send them (ACK trailers, debug records): fields that did not arrive are zero
// and the result says how much was there. Whoever believes a value that a peer
// advertises clamps it first, as [AckTrailer.Clamp] does; that is the caller's
// business because the bounds are.
//
// # Appending
//
// An Append method appends to its argument and returns the longer slice, as
// append does. It allocates only when the capacity is not enough. All padding,
// spare fields and reserved bits are written as zeros: OpenAFS once sent the
// contents of its memory there (OPENAFS-SA-2015-007).
//
// # Screening
//
// [Screen] is the stateless part of receiving: it says of a datagram whether it
// may be looked at, is to be dropped, or is to be answered by an abort.
//
// Sources: the OpenAFS Rx protocol specification (doc/txt/rx-spec.txt,
// rx-debug.txt), the headers of OpenAFS and of Linux's net/rxrpc.
package wire
