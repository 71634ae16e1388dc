package procevent

import "github.com/cnbus/cnbus/connector/nlconn"

// link is the datagram level below a Client: the netlink socket, or in tests a
// kernel made of a few lines. Above it everything runs: codec, counters, errors.
type link interface {
	// Receive, MemInfo, SetReadBuffer, ReadBuffer as nlconn.Socket has them.
	Receive(dst []nlconn.Datagram) (int, error)
	MemInfo() (nlconn.MemInfo, error)
	SetReadBuffer(n int) (int, error)
	ReadBuffer() (int, error)

	// Send sends to the kernel.
	Send(b []byte) error

	// SendOn sends to the kernel from each of the CPUs that this process may
	// run on; b makes the datagram for one of them.
	SendOn(b func(cpu int) []byte) error

	Batch() int
	Close() error
}
