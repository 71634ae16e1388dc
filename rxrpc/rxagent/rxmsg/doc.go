// Package rxmsg is the format of the messages that are exchanged with the RxRPC agent, id {0x636e0001, 1}: what is in the data of
// a cn_msg. docs/agents-protocol.md has it byte by byte.
//
// A request begins with a [Header] and goes to the id, as a Call or, with [FlagNoReply], as a Post. Its completion is the reply, which
// begins with a [Reply]; an errno in it comes with a text for people. Events begin with a Header whose operation is one of
// Event...; they are sent to the port that has opened the socket, and their seq counts them, socket by socket, from 1.
//
// All numbers are in host order, as everywhere on the bus. Append functions append and do not allocate when there is room; Parse functions
// check every length before they believe it, borrow their input, and return errors that wrap EINVAL. None of them panics.
package rxmsg
