package rxrpc

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// ClientSecurity is what calls are secured with: see package rxkad.
type ClientSecurity = proto.ClientSecurity

// ServerSecurity is a security class that a service accepts: see package rxkad.
type ServerSecurity = proto.ServerSecurity

// SecurityInfo describes how a call is secured.
type SecurityInfo = proto.SecurityInfo

// ClientConfig is how a Client makes its calls. nil, and zero values, mean the
// defaults.
type ClientConfig struct {
	Security ClientSecurity // default none

	// Exclusive gives each call a connection of its own, used once.
	Exclusive bool

	Timeouts Timeouts

	// MaxReply is the most that Call returns, in bytes; a longer reply is aborted, ErrTooLarge. Default
	// 64 MiB. NewCall has no limit.
	MaxReply int
}

const defaultMaxReply = 64 << 20

// A Client makes calls to the services of one address. All of its methods may be
// called from any goroutine; calls in progress share connections, up to four at a time on each.
type Client struct {
	e    *Endpoint
	own  atomic.Bool // e is to be closed with it
	peer netip.AddrPort
	cfg  ClientConfig
}

// Dial returns a client of the services at addr, "192.0.2.1:7003" or "[2001:db8::1]:7003", on an endpoint
// that all of the process share (Shared). Nothing is sent. Errors: those of Shared, and of an address that is none.
func Dial(addr string, cfg *ClientConfig) (*Client, error) {
	peer, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, &EndpointError{Op: "dial", Err: err}
	}
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if !peer.Addr().Unmap().Is4() {
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	e, err := Shared(local, nil)
	if err != nil {
		return nil, err
	}
	return e.OwnClient(peer, cfg), nil
}

// Client returns a client of the services at peer, whose calls leave from e: also
// from the port at which e serves, as a server of AFS does that calls its clients back.
func (e *Endpoint) Client(peer netip.AddrPort, cfg *ClientConfig) *Client {
	c := &Client{e: e, peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())}
	if cfg != nil {
		c.cfg = *cfg
	}
	if c.cfg.MaxReply <= 0 {
		c.cfg.MaxReply = defaultMaxReply
	}
	return c
}

// OwnClient is Client for who has opened e for it alone: Client.Close closes e, too.
func (e *Endpoint) OwnClient(peer netip.AddrPort, cfg *ClientConfig) *Client {
	c := e.Client(peer, cfg)
	c.own.Store(true)
	return c
}

// Close gives back the endpoint that Dial, or OwnClient, has taken. Calls in progress fail if
// nobody else uses it.
func (c *Client) Close() error {
	if c.own.Swap(false) {
		return c.e.Close()
	}
	return nil
}

// Peer returns the address that calls go to.
func (c *Client) Peer() netip.AddrPort { return c.peer }

// Endpoint returns the endpoint that calls leave from.
func (c *Client) Endpoint() *Endpoint { return c.e }

// Call sends request to a service and returns its reply.
//
// When ctx ends first the call is aborted: by RX_CALL_TIMEOUT if its deadline has passed, by the code of
// an *AbortError that is its cause, by RX_USER_ABORT otherwise. The error is a *CallError with an *AbortError, a
// *NetError, ErrLimit, ErrTooLarge or ErrClosed inside. A call that has failed may have been executed all the same.
func (c *Client) Call(ctx context.Context, service uint16, request []byte) ([]byte, error) {
	return c.AppendCall(ctx, nil, service, request)
}

// AppendCall is Call that appends the reply to dst. In steady state it allocates
// nothing else.
func (c *Client) AppendCall(ctx context.Context, dst []byte, service uint16, request []byte) ([]byte, error) {
	p := c.params(service)
	return c.e.unary(ctx, &p, dst, request, c.cfg.MaxReply)
}

// CallUpgrade is Call that asks the server for a better service in place of service: its
// reply comes with the number of the service that it is of, to which the next calls should
// go. A server that knows nothing of it answers for service. The request must mean the same to both.
func (c *Client) CallUpgrade(ctx context.Context, service uint16, request []byte) (reply []byte, upgraded uint16, err error) {
	p := c.params(service)
	p.Upgrade = true
	reply, err = c.e.unary(ctx, &p, nil, request, c.cfg.MaxReply)
	return reply, uint16(p.Service), err
}

func (c *Client) params(service uint16) proto.CallParams {
	return proto.CallParams{
		Peer:      c.peer,
		Service:   wire.ServiceID(service),
		Security:  c.cfg.Security,
		Exclusive: c.cfg.Exclusive,
		Timeouts:  proto.Timeouts(c.cfg.Timeouts),
	}
}

// A CallOption changes one call.
type CallOption func(*proto.CallParams)

// Upgrade asks the server for a better service (Client.CallUpgrade); Call.Service
// tells which it was.
func Upgrade() CallOption { return func(p *proto.CallParams) { p.Upgrade = true } }

// Exclusive gives the call a connection of its own.
func Exclusive() CallOption { return func(p *proto.CallParams) { p.Exclusive = true } }

// Length announces how many bytes will be written: more or less is ErrLength.
func Length(n int64) CallOption {
	return func(p *proto.CallParams) { p.TxLength, p.HasTxLength = n, true }
}

// Secure secures the call by s.
func Secure(s ClientSecurity) CallOption { return func(p *proto.CallParams) { p.Security = s } }

// Within limits the call's time-outs.
func Within(t Timeouts) CallOption {
	return func(p *proto.CallParams) { p.Timeouts = proto.Timeouts(t) }
}
