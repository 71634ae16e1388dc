// Package client is a process's connection to a broker: the carrier for the
// processes of one host. Its Bus implements connector.Bus, and docs/protocol.md
// says what goes over the wire.
//
// # Connections
//
// The agent side of a Bus (callbacks, Bus.Send, Bus.Post) has one connection, and every
// Endpoint, Watcher and Monitor one of its own, so that none is behind another's
// messages, and each has the port id of its connection. Only the agent side has a
// goroutine that reads, because callbacks must run unasked. The others read in the goroutine that
// waits: Recv, Call and Send of an Endpoint take turns at it. A hand-over between goroutines costs as much as the
// message's whole way through the kernel; this spares it.
//
// It follows that an Endpoint on which nobody waits reads nothing: its messages wait in the
// socket, then in the broker, and then their senders are slowed, or told what was lost.
//
// # Order
//
// What one Endpoint or Bus sends to one receiver arrives in that order. Events
// come out of Recv in the order in which the broker had them; a reply comes to its Call at once,
// ahead of events that nobody has received yet. Callbacks of one id run one at a time, in
// order; those of different ids do not wait for each other.
//
// # Loss
//
// Send and Call return when the message was taken or refused. Post returns when the message is in
// this process's buffer: a refusal comes later as an EventFailed. Where a receiver is full, and
// the message must not be dropped, they wait, up to ctx. Messages that were dropped for an Endpoint are an EventLost
// at their place in its stream.
//
// When a connection breaks, an EventDown follows what was read before it. Posts
// that had not left are each an EventFailed before it; posts that had left
// shortly before may or may not have arrived. Operations under way end with an OpError that wraps ErrInterrupted, and whose
// MayBeDelivered is false if the request, or its last byte, had not left this
// process; those that change nothing when repeated (AddCallback, Join, ...) are repeated instead. Then the
// connection is made again, by whoever waits on it or, for the agent side, at
// once, and the registrations, memberships, watches and histories are restored. Then comes EventUp, and an
// EventLost with Unknown for each group without history; a group with history goes on after the last
// message that was read, and an EventLost has the exact number of what is gone.
// A registration or membership that cannot be restored is told by an EventFailed.
//
// # Ownership
//
// The data of an event of Recv are valid until the next Recv, those of a Call's reply for ever, and those of
// a Delivery until its handler returns. What is sent is copied before the call returns.
//
// # What waits, and what ends it
//
// Every method that takes a context waits no longer than that. Close of the Bus ends everything, Close of an Endpoint, Watcher or
// Monitor what waits on it: they return ErrClosed. Close itself waits up to
// Config.Linger for the broker to take what was posted, and for running handlers without limit.
//
// Handlers may use the Bus and its endpoints, but must not wait for their own
// end: DelCallback of their own id, or Close. A handler that takes longer than a
// millisecond costs a goroutine, and may hold up those of other ids for two milliseconds, once in 64 times.
package client
