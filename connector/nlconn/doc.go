// Package nlconn carries connector messages over real netlink: NETLINK_CONNECTOR, where the
// kernel's own connector is a peer, and NETLINK_USERSOCK, between processes.
//
// Socket is the level of datagrams: batches are received in one system call with the kernel's
// word on the sender of each, datagrams go to any port id and group, an
// overrun is a value. Bus and Endpoint make of it what the connector model can have
// without a broker.
package nlconn
