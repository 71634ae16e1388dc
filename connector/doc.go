// Package connector is the model of the bus: what a message is, what a
// registered callback and an endpoint may rely on, and the parts from which carriers (loopback, broker and
// client, real netlink, NATS) are made. It does no I/O.
//
// # Contract
//
// The interfaces [Bus] and [Endpoint] mean the same on every carrier; package bustest tests it.
//
//   - An id has one callback. [Bus.DelCallback] returns only when no callback of that registration
//     is running. Callbacks of one id run one at a time, in the order sent; different ids do not wait for each other.
//   - To a port is unicast, to a group multicast, to neither the callback of the message's id. No such id and
//     no listener are two errors: [ErrNoID], [ErrNoListener].
//   - A reply has the request's seq, and its ack + 1. A late, repeated or foreign one is counted, never
//     given to another caller.
//   - Nothing is lost silently. Unicast waits for room, up to ctx; multicast drops for the member that is full,
//     which finds an [EventLost] with the number at that place in its stream.
//   - [From] is what the kernel says of the sender, not what the sender says.
//
// Who owns data: what is sent may be changed when the call has returned. What is received, a [Delivery] or
// an [Event], is borrowed: until the callback returns, until the next Recv. [Message.Clone] and [Delivery.Detach]
// copy. The reply of [Endpoint.Call] is the caller's.
//
// Which errors: every error of this package wraps one of the refusals ([ErrNoID], ...), each of which wraps the errno
// that the kernel's connector gives in that case, or a context's error. *[OpError] says for whom.
//
// # Bytes
//
// A [Message] is a cn_msg; len and flags have 16 bits each. On every carrier it stands behind an nlmsghdr of
// type NLMSG_DONE and flags 0, in the host's byte order, with at most 16384 bytes behind the nlmsghdr. [ParseExact] reads exactly that
// and nothing else. [ParseNetlink] and [Messages] read what netlink sockets give: padding, several
// frames, several messages in one frame; what the connector cannot have sent (other types such as
// NLMSG_ERROR, flags such as NLM_F_MULTI) is an error and not mistaken for a message. Up to 3 bytes behind the last message of a frame
// are padding, more are an error. Parsers borrow their input, never read beyond it, and do not allocate unless they fail.
//
// # Parts for carriers
//
// They are pure: no clock, no socket. [Registry] and [Genealogy] may be used from any goroutine; [Notify] and
// [WatchTable] have one user at a time, because a carrier must tell of registrations in the order in which they happen.
//
//   - [Registry] finds and runs callbacks.
//   - [Genealogy] numbers requests and tells what an incoming message is to them.
//   - [Notify] is the control id {-1, -1}: the cn_ctl_msg requests of 2005.
//   - [WatchTable] is Watch: present state, marker, changes.
package connector
