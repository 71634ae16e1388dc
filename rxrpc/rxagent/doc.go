// Package rxagent is the RxRPC agent: it gives every process of a host the sockets of AF_RXRPC by messages to the id {0x636e0001, 1}, with no
// kernel module, no privilege and no C. The format of the messages is in docs/agents-protocol.md, and in Go in package rxmsg; package
// rxclient has the Go faces.
//
// # What it promises
//
// All sockets of all processes share UDP ports, connections to peers, and what is known of these, as they would in a kernel. A socket
// belongs to the port of the bus that has opened it. Nobody else can name it, and when that port is gone, because its process has died or
// closed it, the socket is closed: its calls are aborted with RX_CALL_DEAD (as Linux does when a socket is released), but for replies that have been sent to
// their end; its keys and ports are free. Others do not notice.
//
// Events of a socket arrive in order, numbered, and none is lost: an owner that does not read is waited for. Each owner is sent to by a
// goroutine of its own, so nobody waits for another's. Data of a call go out only as far as its window allows, which the application opens
// as it consumes; until then they stay where they are, and RxRPC's flow control stops the peer. So an application that stops reading one call stalls that
// call alone.
//
// Requests about a socket, and those of one call, are done in order. Those that may wait (a call's window is full, no channel is free) hold up
// no others, and can be cancelled.
//
// # Inside
//
// The callback of the id parses a request and does it at once if it cannot block: sending is (*rxrpc.Socket).Submit, which completes in the
// endpoint. What may block, such as opening a UDP port or looking up a key, goes to the lane of its socket, a queue that
// has a goroutine while it is not empty. Each owner has a goroutine, the pump, that sends completions and events. The endpoint only ever tells it that there is something.
//
// Locks, each for a moment: Agent.mu, owner.mu, sock.mu, lane.mu. The endpoint calls back under its own locks, so none of these is held while a
// socket is called.
package rxagent
