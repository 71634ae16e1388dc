// Package rxbench is the benchmark suite of RxRPC: our client and server against
// a client and a server in C on OpenAFS's own Rx library (rxpeer, tests/interop/openafs/peer), which offer the same
// service. Client and server are processes of their own on both sides.
package rxbench
