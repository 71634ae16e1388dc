// Package npa makes streams of Samba's named pipes: of a unix socket in the
// directory "np" of a Samba server, on which the client first says who it is for whom (named
// pipe auth), after which the pipe goes on in byte mode or in message mode.
//
// # The handshake
//
// The client sends a Request, the server answers with a Reply: a length of four
// bytes, big-endian, that does not count itself, "NPAM", and NDR in little-endian byte order; level 8 of
// librpc/idl/named_pipe_auth.idl in Samba. The server believes what the client says, so the socket must be
// accessible for nobody else.
//
// # The modes
//
// In byte mode the stream is what the unix stream is. In message mode each
// Writev is a message of at most 65535 bytes (EMSGSIZE beyond, and nothing is written), sent with its
// length in front, two bytes, little-endian; a write may have any number of vectors. Reads need not know
// of messages: a Readv may span several, or take a part of one, whose rest is what PendingBytes
// tells. It tells nothing else. An empty message is EIO. When a Writev is cancelled in the middle of its
// message, the rest is sent nevertheless, and counts as written.
package npa
