// Package tsagent is the tsocket agent: sockets of package tsocket for any process on the bus, by messages to
// the id tsocket, {0x636e0002, 1}.
//
// An Agent is registered on a bus and owns the sockets. A process opens, binds, connects, reads and writes them
// by messages, whose completions are the replies; docs/agents-protocol.md has them byte by byte, for clients in any
// language. Policy decides who may do what, with the credentials that the kernel gives. A socket belongs to the port
// of the bus that opened it: for everybody else it does not exist, and it is closed when that port is gone.
//
// A Client is the other end, in Go: its Dial, Listen and UDP functions are those of package tsocket, and give a
// *tsocket.Stream and a *tsocket.Dgram that behave as those do, over any bus.
//
// # Flow
//
// What comes from the network is sent to the owner unasked, as far as it has said that it has room (the window), so that a
// read costs no round trip; what the owner writes, likewise, as far as the agent has room. An owner that does not read
// a socket stops that socket. One that reads none of its messages stops its own sockets only.
//
// # An engine in the same process
//
// An engine of datagrams, as that of package rxrpc, can have its UDP socket of an Agent on a loopback bus of its process, and loses
// little by it: with Config{Sinks: true, Policy: AllowAll(), Window: 1 << 20} and ClientConfig{Sink: id, Room: another, Window: 1 << 20} a batch is
// sent in the goroutine of who sends, and so is word of new room; what comes is handed over in the goroutine that received it
// (tsocket.PushOps). Nothing is allocated on the way. With Config.Loop that is the goroutine of a loop, which waits for much else: no other
// has to be woken.
//
// # Loss
//
// Events of a socket are numbered: a Client that misses one fails the socket. When the connection to the bus is lost, or
// the agent goes, each of its sockets fails, with ErrDown, and can be opened anew as soon as the agent is back.
package tsagent
