// Package sim runs endpoints of RxRPC over a simulated network in virtual time, from a
// seed: hosts with services, calls of all shapes between them, and whatever a network
// may do to datagrams: latency, jitter, loss alone and in bursts, reordering,
// duplication, corruption, queues, narrow links with and without ICMP, NAT bindings that
// change, partitions, hosts that restart, strangers who send rubbish. While it
// runs, and when all is over, it checks:
//
//   - a call is executed at most once per life of a server, and exactly once if its
//     client was told that it succeeded
//   - data arrives byte by byte as it was sent, in both directions
//   - every call ends, within a time that its path and its size justify; on paths
//     that are no worse than networks are, it succeeds
//   - what endpoints hold is bounded, and nothing is left when all is over
//   - every datagram that leaves an endpoint obeys the rules (Checker), read from the
//     bytes by a parser of its own
//   - who has not shown that it receives gets hardly more than it sends
//
// Everything follows from the seed: a Scenario is drawn from it, a run of the scenario
// is deterministic, and a failure says how to run it alone with a trace of packets.
package sim
