// Package rxrpc is RxRPC, the transport of AFS: remote calls over UDP, as OpenAFS's
// library Rx and Linux's AF_RXRPC speak it.
//
// A call has two phases. The client sends a request and then receives the reply; the
// server receives the request and then sends the reply. Both are streams of bytes of any
// length. A call goes to a service, a number, at a UDP address; which
// operation of the service is meant the request says, by convention in its first four bytes. A
// call ends well, or with an abort: a code of 32 bits that either side may send.
//
// # What it promises
//
// An Endpoint is a UDP socket. Any number of Clients and Servers may use it at a time, and any goroutine any of
// them. Calls to one service of one peer share connections, four at a time on each, and connections are kept for
// Timers.ClientIdle after their last call.
//
// A call is executed at most once. If it fails after it was sent, nobody can tell the client whether it was executed. A
// call that ends well has moved every byte of both phases, in order.
//
// A Client needs no goroutine for its calls: a request leaves on the goroutine of its caller, and
// an endpoint has one goroutine that receives and one that gathers. Each call of a Server runs on a goroutine of a pool.
//
// What is written is copied before Write returns; what Read returns is the reader's. A request of a Unary handler, and the
// memory that it appends its reply to, are its own until it returns.
//
// Nothing that a peer sends can panic, or hold more than Limits allow.
//
// # Time-outs
//
// When the context of a call ends the call is aborted, and both sides learn it: by RX_CALL_TIMEOUT if the
// deadline has passed, by RX_USER_ABORT otherwise. Without a deadline a call ends when its peer has not been heard
// for 20 seconds (Timers.HeardNothing); a server that is busy with a call answers pings meanwhile, so that a call may take for ever.
//
// # Errors
//
// The error of a call is a *CallError. In it is an *AbortError with the code, its name, and who has
// aborted; a *NetError if the network or this host would not carry the packets; or one of the Err variables.
// errors.Is finds the errno that AF_RXRPC has for each (ECONNABORTED, ETIME, ECONNRESET, ENETUNREACH, ...), what ended the context, and
// Abort(code) for a certain code. Package abortcode knows the names of codes.
//
// # Three faces
//
// Client and Server are for new programs. Socket is Linux's AF_RXRPC, with tags and control messages, KernelService what
// that offers to file systems in the kernel. All of them can use one endpoint at a time.
//
// # Who is who
//
// Without a security class nobody knows who calls: addresses can be forged. Package rxkad is AFS's
// classical class; what it protects from, and what not, its documentation says.
package rxrpc
