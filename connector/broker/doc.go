// Package broker is the process between the processes: it holds who is registered
// under which id, who listens to which group, and carries messages between
// them, with the credentials that the kernel gives.
//
// # What it promises
//
// Messages of one sender to one receiver arrive in the order sent. A unicast message is never
// dropped: when the receiver is full its sender is told to stop, and nobody else. A group
// message is dropped for the members that are full; each finds, at the place in its stream
// where the messages would have been, how many they were. A group with a history keeps them
// instead. A reply that its caller does not read is dropped like a group message. See
// docs/protocol.md for all of it, and docs/policy.md for who may do what.
//
// # How it works
//
// The hub is the broker without sockets: a single-threaded state machine into which bytes of clients
// and times go and out of which bytes for clients come. The loop around it runs
// on a tsocket.Loop: one goroutine on one thread with one epoll. It reads up to 64 KiB of a client at a time, lets the hub append
// the messages to their receivers' queues, and writes each queue with one
// system call. An acknowledgement is written after what it acknowledges.
package broker
