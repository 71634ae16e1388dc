// Package tlsstream puts TLS on a stream of package tsocket, by crypto/tls. The
// result is a stream like any other: it passes the same tests.
//
// Client and Server do the handshake on a stream that may have been used before
// (STARTTLS): what was read ahead from it belongs to TLS, whoever read it. From then on nobody else may
// read from or write to the plain stream. What TLS reads, it reads record by record, so that
// after a Disconnect with Config.KeepPlain the plain stream goes on behind the last record.
//
// # What differs from a plain stream
//
//   - The end of the stream is the peer's close_notify. A connection that ends
//     without one is io.ErrUnexpectedEOF, also between two records: somebody may have cut it off.
//   - Disconnect sends close_notify, and waits until it is written, not for the
//     peer's. Then it disconnects the plain stream, unless KeepPlain is set, as it always is in C.
//   - Close sends close_notify only if that does not have to wait (for more than 50
//     ms, on a stream that cannot tell: see tsocket.TryStreamOps).
//   - CloseWrite sends close_notify; reading goes on.
//   - PendingBytes counts bytes that are deciphered, and tells nothing of the end.
//   - What a Writev has enciphered counts as written; when it is cancelled, that
//     is sent nevertheless, for otherwise the peer could decipher nothing that follows. It is at most 64 KiB.
//   - Errors: a peer whose certificate is refused is EINVAL, a violation of the
//     protocol or an alert of the peer EIO (see Error), an end without close_notify EPIPE; those of the plain
//     stream are what they were.
package tlsstream
