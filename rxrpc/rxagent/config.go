package rxagent

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// Config says how an Agent works. nil, and zero fields, mean the defaults.
type Config struct {
	// Open makes the endpoint of a local address; default rxrpc.Open. With port 0 it is any free one. The endpoints are shared
	// among all sockets, and closed when none has used them for Endpoint.Retain.
	Open func(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error)
	// Endpoint is the configuration of the endpoints.
	Endpoint *rxrpc.Config
	// Policy is asked what a client may do; nil allows everything.
	Policy Policy
	// Keys has the keys of the clients; nil: there are none (ENOKEY).
	Keys Keys

	Limits Limits
	// Quota, if it is set, says how much each user may have besides; Limits.UserSockets and UserCalls do not count then.
	Quota Quota

	// ReceiveWindow is how many bytes of a call are sent to a client that has not opened its window further, unless it has asked for
	// something else with its socket; default 256 KiB.
	ReceiveWindow int
	// SendWindow is how many bytes of a call a client may post that the endpoint has not taken; default 256 KiB.
	SendWindow int
	// MaxBacklog is the most that LISTEN takes; default 1024.
	MaxBacklog int
	// Linger is how long CLOSE waits at most for replies that were posted to their end and that the endpoint could not take yet; default 30 s.
	Linger time.Duration

	// Logger is told, at level Debug, of sockets and refusals, and at level Warn of what nobody else can be told. Default slog.Default.
	Logger *slog.Logger
}

// Limits bound what clients can make the agent hold.
type Limits struct {
	Sockets     int   // of a port; default 256
	UserSockets int   // of a user id; default 1024
	Calls       int   // of a socket; default 4096
	UserCalls   int   // of a user id; default 16384
	Bytes       int64 // of a port, posted and not taken by the endpoint, each message counting 1 KiB more than its data; default 64 MiB
	Requests    int   // of a port, that wait for others; default 4096
}

// UserLimits are what the clients of one user may have together. A negative one is none.
type UserLimits struct {
	Sockets int   // else EMFILE
	Calls   int   // on all sockets; else ENOBUFS, and BUSY for a caller elsewhere
	Bytes   int64 // posted, and not taken by the endpoint, each message counting 1 KiB more than its data; else ENOBUFS
}

// A Quota says how much each user may have. Its methods are called from any goroutine, also in the callback of the id, and must not
// block.
type Quota interface {
	// Limits is asked for each socket, call and message of data.
	Limits(uid uint32) UserLimits
	// Exceeded is told of each refusal: of what, "sockets", "calls" or "bytes", there is no more than limit.
	Exceeded(cred connector.Cred, what string, limit int64)
}

// A Policy says what the agent does for whom. Its errors wrap EACCES or EPERM, and their text is sent to the client; others are
// sent as EACCES. It is asked from any goroutine, also in the callback of the id, and must not block.
type Policy interface {
	// Call is asked before a client calls, or is connected to, an address.
	Call(who connector.From, to rxrpc.Addr) error
	// Listen is asked before a client binds a socket to a service, or to a port.
	Listen(who connector.From, local rxrpc.Addr) error
}

// Keys are where a client's keys come from. Its errors wrap ENOKEY, EKEYEXPIRED, EACCES, ...; those that wrap no errno are sent as
// ENOKEY. It is called on goroutines that may wait.
type Keys interface {
	// Source finds keys by description for the sockets of a client.
	Source(who connector.From) rxrpc.KeySource
	// Key finds a key of a client by its number (BEGIN_CALL).
	Key(ctx context.Context, who connector.From, number uint32) (rxrpc.ClientKey, error)
	// Do does one of the operations 0x40 to 0x4f. Those of one client are done in order. value and reply are sent back.
	Do(ctx context.Context, who connector.From, h rxmsg.Header, body []byte) (value uint32, reply []byte, err error)
	// Gone is called after the port of a client that one of the others was called for is gone.
	Gone(who connector.From)
}

func (c *Config) withDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Open == nil {
		d.Open = rxrpc.Open
	}
	for _, v := range []struct {
		p *int
		d int
	}{
		{&d.ReceiveWindow, 256 << 10},
		{&d.SendWindow, 256 << 10},
		{&d.MaxBacklog, 1024},
		{&d.Limits.Sockets, 256},
		{&d.Limits.UserSockets, 1024},
		{&d.Limits.Calls, 4096},
		{&d.Limits.UserCalls, 16384},
		{&d.Limits.Requests, 4096},
	} {
		if *v.p <= 0 {
			*v.p = v.d
		}
	}
	if d.Limits.Bytes <= 0 {
		d.Limits.Bytes = 64 << 20
	}
	if d.Linger <= 0 {
		d.Linger = 30 * time.Second
	}
	if d.Logger == nil {
		d.Logger = slog.Default()
	}
	return d
}
