// Package rxclient is RxRPC over a bus: what package rxrpc offers, for processes that have no UDP socket and no privilege, by messages
// to the RxRPC agent.
//
// A Conn is a port of the bus. Conn.Open makes an *rxrpc.Endpoint, whose clients, servers and calls are those of package rxrpc: programs that
// have one need not know who runs the protocol. Conn.NewSocket makes a Socket, AF_RXRPC as rxrpc.Socket has it, and NewKernelService the
// kernel's interface on it.
//
// # What it promises
//
// What package rxrpc promises of calls, with the same errors: aborts, errnos, contexts, deadlines. What differs:
//
//   - Keys are the agent's: NamedKey and NamedKeyring say which. ServerCall.Security knows nothing of the client.
//   - Time-outs other than hard ones have a resolution of a millisecond, and those of ServerConfig are the agent's.
//   - Limits are those of the agent and its policy: EACCES, EDQUOT.
//
// Data of each call move in windows of their own, both ways. Who does not read stalls his own call only.
//
// # When the agent goes
//
// When the broker or the agent is stopped, calls in progress fail with ErrDown (ENOTCONN): nobody knows whether they were executed. An endpoint
// gets its port and its services back as soon as there is an agent again; calls that begin meanwhile wait for that, as long as their
// contexts let them. A Socket says ErrDown from then on: make a new one.
package rxclient
