// Package bussock makes sockets whose two ends are endpoints of a bus: streams and datagram
// sockets of package tsocket, with all the rules of that package, in one process or two, on every carrier.
//
// A Node is an endpoint of the bus that has sockets. Whoever wants to be found registers an id:
//
//	l, err := node.Listen(ctx, id, nil)       // a process that serves
//	s, err := l.Accept(ctx)
//
//	s, err := node.Dial(ctx, id)              // another one
//
// # Streams
//
// What is promised on top of a *tsocket.Stream:
//
//   - Each direction of each stream has a window of bytes (Config.Window), which the reader opens as it reads. A stream that nobody reads
//     stops its own writer and nothing else, neither on the same Node nor on the bus.
//   - Writes that come close together travel in one message, of up to 16348 bytes; a write on its own leaves at once, by the
//     goroutine that writes.
//   - The end is told apart: io.EOF when the peer has finished writing or closed; ECONNRESET with a text when its process died, or
//     when the bus was interrupted, which every stream tells once. What had arrived before can be read in every case.
//   - Stream.PeerCred are the credentials of the process at the other end, as the bus has them from the kernel: on the listener's side those of
//     who connected, on the other side those of who registered the id.
//   - A peer that breaks the protocol, by data beyond the window for instance, loses the stream on which it does so.
//
// AsNetListener and tsocket.AsNetConn make what package net/http runs on.
//
// # Datagram sockets
//
// A datagram socket has a number at its endpoint, as one of UDP has a port at its host. Many datagrams of a batch for
// one receiver travel in one message. They may be lost, as those of UDP may: where the receiver's
// process has no more room for them. What is lost is counted (DgramStatsOf); Dgram.SetNotices makes a receive tell of peers that are gone.
// Publish and Lookup find one by an id.
//
// # Addresses
//
// The address of a socket is an IPv6 address, fd63:6e62:7573::/96 with the port id of the endpoint below, and its number as the port: see Addr.
// So the RxRPC engine, which knows its peers by IP address and port, runs on datagram sockets of a bus: rxrpc.OpenOn.
//
// # Who is allowed what
//
// Who may register or call an id is a matter of the broker's policy; so is who may send to ports of other users (unicast), which both
// ends must be allowed to: otherwise the stream is reset by EACCES. ListenConfig.Allow decides by credentials. Anybody who may send to a port can send
// datagrams to it. Messages of streams are taken from the stream's peer alone.
//
// The messages are in docs/agents-protocol.md, byte by byte.
package bussock
