package nlconn

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

// Protocol is a netlink protocol that carries connector messages.
type Protocol int

const (
	// UserSock is NETLINK_USERSOCK: between processes only.
	UserSock Protocol = 2
	// Connector is NETLINK_CONNECTOR: the kernel's own connector too, in the
	// initial network namespace.
	Connector Protocol = 11
)

// String returns the name that the kernel's headers have: "NETLINK_CONNECTOR".
func (p Protocol) String() string {
	switch p {
	case UserSock:
		return "NETLINK_USERSOCK"
	case Connector:
		return "NETLINK_CONNECTOR"
	}
	return fmt.Sprintf("netlink protocol %d", int(p))
}

// MaxGroup is the highest group of these protocols: the netlink core rounds
// what they ask for up to 32.
const MaxGroup = 32

// ErrOverrun is returned by Receive when the socket's buffer was full
// and the kernel dropped messages for it (ENOBUFS). It is no end: the messages
// still queued, and later ones, are received by the next calls.
var ErrOverrun = errors.New("netlink receive buffer overrun")

// Datagram is one received datagram with what the kernel says about it.
type Datagram struct {
	// Data are the bytes, valid until the next Receive.
	Data []byte

	// Truncated is set when the datagram was longer than Config.MaxDatagram.
	Truncated bool

	// Port is the sender's port id, from its socket address: 0 is the kernel. The
	// nlmsg_pid in Data is written by the sender and proves nothing.
	Port uint32

	// Group is the multicast group, 0 for unicast.
	Group uint32

	// Cred are the sender's credentials; HasCred is false when none came
	// (the socket was opened without SocketConfig.Credentials).
	Cred    connector.Cred
	HasCred bool

	// NSID is the id of the sender's network namespace, -1 for the own one.
	NSID int32
}

// SocketConfig says how a Socket is opened. The zero value of a field other
// than Protocol means its default.
type SocketConfig struct {
	// Protocol is Connector (the default) or UserSock.
	Protocol Protocol

	// Port is the port id to bind; 0 lets the kernel choose.
	Port uint32

	// NetNS is the network namespace: "" the caller's, a name as of
	// `ip netns`, a path, or "pid:N".
	NetNS string

	// ReadBuffer and WriteBuffer are asked of the kernel, in bytes; see
	// SetReadBuffer. 0 leaves the system's default.
	ReadBuffer, WriteBuffer int

	// Credentials asks for the sender's credentials with each datagram.
	Credentials bool

	// AllNSID also receives multicast from other network namespaces that
	// have an id in this one.
	AllNSID bool

	// Batch is how many datagrams one system call may receive; 64 if 0.
	Batch int

	// MaxDatagram is the room for each; 16400 if 0, all that the kernel's
	// connector accepts.
	MaxDatagram int
}

func (c *SocketConfig) withDefaults() (SocketConfig, error) {
	var d SocketConfig
	if c != nil {
		d = *c
	}
	if d.Protocol == 0 {
		d.Protocol = Connector
	}
	if d.Batch == 0 {
		d.Batch = 64
	}
	if d.MaxDatagram == 0 {
		d.MaxDatagram = connector.NlmsgHdrLen + connector.MaxPayload
	}
	switch {
	case d.Protocol != Connector && d.Protocol != UserSock:
		return d, &connector.OpError{Op: "dial", Err: fmt.Errorf("%v carries no connector messages: %w", d.Protocol, connector.ErrInvalid)}
	case d.Batch < 1 || d.Batch > 1024:
		return d, &connector.OpError{Op: "dial", Err: fmt.Errorf("batch of %d, must be in [1, 1024]: %w", d.Batch, connector.ErrInvalid)}
	case d.MaxDatagram < connector.NlmsgHdrLen || d.MaxDatagram > 1<<20:
		return d, &connector.OpError{Op: "dial", Err: fmt.Errorf("datagrams of %d bytes, must be in [16, 1 MiB]: %w", d.MaxDatagram, connector.ErrInvalid)}
	case d.ReadBuffer < 0 || d.WriteBuffer < 0:
		return d, &connector.OpError{Op: "dial", Err: fmt.Errorf("negative buffer size: %w", connector.ErrInvalid)}
	}
	return d, nil
}

// checkGroup refuses what the netlink core cannot have: a larger number would
// be cut to a mask of 32 bits without a word.
func checkGroup(op string, group uint32) error {
	if group < 1 || group > MaxGroup {
		return &connector.OpError{Op: op, Group: group, Err: fmt.Errorf("netlink has groups 1 to %d: %w", MaxGroup, connector.ErrInvalid)}
	}
	return nil
}
