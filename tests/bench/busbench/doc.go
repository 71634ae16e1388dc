// Package busbench is the benchmark suite of the bus: our broker and our
// in-process bus against what a user would take instead.
//
// A system is a bus that can be measured: ours, NATS, a bare relay, D-Bus. Each is
// reached through the same small interface, conn, so that the roles (requester,
// echo, publisher, subscriber, crowd) are the same code for all of them.
package busbench
