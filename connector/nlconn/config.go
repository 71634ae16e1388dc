package nlconn

import (
	"fmt"
	"log/slog"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Config are the settings of a Bus. Nil and zero fields mean the defaults.
type Config struct {
	// Protocol is Connector (the default) or UserSock.
	Protocol Protocol

	// NetNS is the network namespace; see SocketConfig.
	NetNS string

	// ReadBuffer is the size of each socket's receive buffer in the kernel; see
	// Socket.SetReadBuffer. 0 leaves the system's default.
	ReadBuffer int

	// Queue is how many bytes an endpoint keeps for Recv before its socket is
	// left to fill. Default 256 KiB.
	Queue int

	// Calls bounds the outstanding calls of one endpoint. Default 65536.
	Calls int

	// KernelIDs allows messages with idx 1, the kernel's process events, where the kernel's connector
	// listens. Without it they are refused there with connector.ErrPermission: a group message
	// goes to the kernel too, which would take it for a request.
	KernelIDs bool

	// Log is told of panics in callbacks. Default slog.Default.
	Log *slog.Logger
}

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Protocol == 0 {
		d.Protocol = Connector
	}
	if d.Queue <= 0 {
		d.Queue = 256 << 10
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	return d
}

// MaxVal is the highest val that an id may have to be registered on netlink.
const MaxVal = 1<<24 - 1

// IDPort is the port id of the callback registered under id. Netlink has no registry, but
// the kernel lets only one socket have a port id: a callback is a socket that has the one that stands
// for its id, 0x80000000 + idx<<24 + val. It fails for an idx that is no group of netlink
// (1 to 32), and for a val above MaxVal.
func IDPort(id cbid.ID) (uint32, error) {
	if id.Idx < 1 || id.Idx > MaxGroup || id.Val > MaxVal {
		return 0, fmt.Errorf("ids on netlink have idx 1 to %d and val 0 to %#x: %w", MaxGroup, MaxVal, connector.ErrInvalid)
	}
	return 1<<31 | id.Idx<<24 | id.Val, nil
}
