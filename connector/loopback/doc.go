// Package loopback is the bus within one process: the carrier for programs whose
// agents and users are the same process, and for testing either without a broker, a kernel or
// root.
//
// A Hub is the bus. Each Bus opened on it stands for a process: it owns its
// registrations, endpoints and watches, has limits of its own, and loses all that when it is closed, as a
// process does when it dies. The credentials of every message are this process's.
//
// It keeps every promise of package connector (connector/bustest), with these particulars:
//
//   - Data are copied when a message is sent; the sender may use its bytes again.
//   - A message to an id is queued and its callback runs in another goroutine, so that a callback
//     that blocks never blocks who sends to it, until the queue of the id is full. A
//     callback marked by connector.Inline runs in the goroutine of the sender instead, if it is idle.
//   - A message is "with its receiver" when it is in the receiver's queue. Send and Post differ only in
//     how a failure is told.
//   - A group with a history accepts messages while nobody listens: they wait there.
//   - Multicast does not hold a lock while it waits for anybody; its members are a
//     snapshot. Only in a group with a history do senders wait for each other, because every member sees
//     the same positions.
//   - A member of a group with a history that is full gets the missing messages from
//     the history when it reads on. Messages that it sent itself to the group are not counted
//     as lost, unless they were evicted from the history before it came to them.
//   - In the steady state nothing is allocated for a message; a call allocates a little, and its reply's data.
//
// No method blocks longer than its context, except DelCallback and Close, which wait for
// callbacks. Neither may be called from a callback of the same Bus.
package loopback
