// Package nlconn carries connector messages over real netlink: NETLINK_CONNECTOR, where the
// kernel's own connector is a peer, and NETLINK_USERSOCK, between processes. There is no
// broker; the kernel carries the messages within one network namespace.
//
// Socket is the level of datagrams: batches are received in one system call with the kernel's
// word on the sender of each, datagrams go to any port id and group, an
// overrun is a value that ends nothing. Neither way allocates. Package procevent is built on it.
//
// Bus and Endpoint make of it what the connector's model can have. Netlink has no registry, but it lets only
// one socket have a port id: a registered id is a socket with the port id that stands for it
// (IDPort), so that ids are unique, callable, and gone with their process, without anybody
// keeping a list. Its messages wait in the kernel, in that socket's buffer.
//
// # What this carrier cannot promise
//
//	promise                                  here
//	-------                                  ----
//	any id may be registered                 idx 1 to 32, val up to 0xffffff, and not {-1,-1}
//	any group                                1 to 32, else ErrInvalid
//	DelCallback loses nothing                what is sent while it runs may be lost
//	Bus.Send finds the group of any id       of the ids of the same Bus; ErrNoID for others
//	ErrNoListener                            never: the kernel does not tell that a group is empty
//	FullWait to a group                      ErrNotSupported: multicast never waits
//	a member is told its loss, by group      told exactly, by an EventLost of group 0, behind what was
//	                                         queued when the loss began; all groups of an endpoint together
//	FullDrop to a full port is told there    the sender gets ErrWouldBlock instead, the receiver nothing
//	Post's failure comes as EventFailed      Post is Send and fails at once
//	InterestHandler                          told once that somebody listens
//	a call ends with its agent               within a quarter of a second; not noticed if the id is
//	                                         registered again by then
//	Delivery.Call                            known of callers that set NLM_F_REQUEST, as Call does
//	Watch, notification, history, limits     none
//	FollowPort                               ErrNotSupported: netlink tells the kernel only that a port is gone
//	who may do what                          CAP_NET_ADMIN of the namespace, for all or nothing; without it,
//	                                         NETLINK_USERSOCK can still send to ports, NETLINK_CONNECTOR to the kernel
//	                                         only (and join odd groups, since Linux 6.2). Anybody with it may
//	                                         register any free id
//
// What it does promise runs in package bustest, in a private user and network namespace.
//
// # The kernel's connector
//
// In the initial network namespace a NETLINK_CONNECTOR message to a group reaches the kernel's callbacks too. A
// Bus there refuses messages with idx 1, which the kernel's process events would take
// for requests, unless Config.KernelIDs says that they are meant.
//
// A message to a group has a second leg, to a port, in every sendto. Where nobody has the port 0 (in
// another namespace, or on NETLINK_USERSOCK) that leg fails with ECONNREFUSED although the members have the
// message; it is not taken for an error.
package nlconn
