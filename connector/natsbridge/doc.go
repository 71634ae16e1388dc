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
// connected there. Around it a goroutine gives packets to NATS, one takes those that come, and each operation
// on the store has one while it waits. The core is tested by simulation: sites of up to five hosts with loss, partitions
// and deaths, reproducible from a seed.
package natsbridge
