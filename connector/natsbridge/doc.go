// Package natsbridge joins the brokers of many hosts to a site, through NATS.
//
// An id that is registered for the site on one host is called from all, groups have members on all,
// port ids work on all. docs/hosts.md says what holds, and has every byte.
//
// # What it promises
//
// Unicast between hosts is what it is on one: in order, once, and it waits for room; what a
// host that was given up did not take is told as failed. A group message that was not confirmed crosses a host once, if
// anybody listens there; what is missing is counted exactly and told to the members at its place. A site-wide id has one owner, whom
// the store of NATS, JetStream, decides. Nobody's wall clock plays any part.
//
// # How it works
//
// The core is the bridge without sockets, goroutines and clock. It lives on the broker's loop: what a client sends to another host is
// a frame that the core puts into the packet for that host, and what comes is given to the other broker as if the client were
// connected there. The loop itself gives packets to NATS's client: the connection under that takes them without waiting (see
// natsConn); while a connection is made a goroutine does. What comes is given to the loop by the client's reader, all that one
// read has brought at a time. Each operation on the store has a goroutine while it waits. The core is tested by simulation: sites of up to five hosts with loss, partitions
// and deaths, reproducible from a seed.
package natsbridge
