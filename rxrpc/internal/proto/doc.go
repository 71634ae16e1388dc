// Package proto is RxRPC's protocol: calls, channels, connections, bundles and
// peers, as client and as server. It has no socket, no goroutine and no clock:
// datagrams and times go in, datagrams and events come out.
//
// # Who may call what
//
// An Endpoint and everything that belongs to it has one owner at a time. None of its
// methods may run at the same time as another, none waits, and none calls back but
// into Hooks and the security classes. Only a Buf that was taken may be released by anybody.
//
// # How it is driven
//
//	for {
//		wait for a datagram, a command of the application, or the Deadline
//		Receive, NetError, Tick, or what the application wants: NewCall, Call.Send ...
//		for Transmit: send the datagram          (until it has no more)
//		for Event: tell the application          (until there is no more)
//	}
//
// Times are nanoseconds on any scale that does not go backwards. The result of a
// sequence of inputs depends on nothing but Config, the bytes of Config.Rand and the inputs.
//
// # Calls
//
// A call sends its request and receives the reply (a client's), or receives the
// request and sends the reply (a service's). Send takes what the call has room for;
// Take hands over data that has arrived in order, and Consumed says that the
// application has it, which opens the window. A call ends exactly once, with a
// Completion; what has arrived of a reply that ended well may still be taken. Release gives the Call back:
// it is another call's from then on.
//
// The identity of a call (connection, channel, call number) does not change once its
// first packet was sent, and a call number is used up by its first transmission, not before.
//
// # Memory
//
// Everything comes from free lists: nothing is allocated for a packet in steady
// state. What peers can make the endpoint hold is bounded by Limits.
//
// Sources: Linux net/rxrpc (7.3), OpenAFS src/rx, its rx-spec.txt and rx-debug.txt; the
// comments name the rule. Where the two differ, a comment says which one is followed and why.
package proto
