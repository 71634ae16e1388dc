package rxdebug

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/tsocket"
)

// Config is how patient a Client is. The zero value of a field is its default.
type Config struct {
	Tries int           // how often a request is sent, default 5
	Wait  time.Duration // for the answer to the first, default 1 s; each time twice as long
}

// Client asks one endpoint. It is for one goroutine.
type Client struct {
	addr   netip.AddrPort
	config Config
	dgram  *tsocket.Dgram
	number uint32
	in     []byte
	out    []byte
	stats  *Stats // as told first; it says what else may be asked
}

// Dial makes a Client of the endpoint at addr; nothing is sent. A nil config has
// all defaults. The error is an *OpError.
func Dial(addr netip.AddrPort, config *Config) (*Client, error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	c := &Client{addr: addr, number: rand.Uint32(), in: make([]byte, 64<<10)}
	if config != nil {
		c.config = *config
	}
	if c.config.Tries <= 0 {
		c.config.Tries = 5
	}
	if c.config.Wait <= 0 {
		c.config.Wait = time.Second
	}
	wildcard := netip.IPv4Unspecified()
	if addr.Addr().Is6() {
		wildcard = netip.IPv6Unspecified()
	}
	remote, err := tsocket.AddrFrom(addr)
	if err != nil {
		return nil, c.failed("socket", err)
	}
	local, err := tsocket.AddrFrom(netip.AddrPortFrom(wildcard, 0))
	if err != nil {
		return nil, c.failed("socket", err)
	}
	if c.dgram, err = tsocket.UDP(local, remote); err != nil {
		return nil, c.failed("socket", err)
	}
	return c, nil
}

// Close closes the socket.
func (c *Client) Close() error { return c.dgram.Close() }

func (c *Client) failed(op string, err error) error {
	return &OpError{Op: op, Addr: c.addr, Err: err}
}

// debug sends a debug request and returns the record that answers it, valid until
// the next.
func (c *Client) debug(ctx context.Context, op string, t wire.DebugType, index int) ([]byte, error) {
	var b [wire.DebugRequestSize]byte
	return c.ask(ctx, op, wire.TypeDebug, wire.DebugRequest{Type: t, Index: int32(index)}.Append(b[:0]))
}

// ask sends a request until somebody answers.
func (c *Client) ask(ctx context.Context, op string, t wire.PacketType, body []byte) ([]byte, error) {
	c.number++
	h := wire.ToolRequest(t, c.number)
	c.out = append(h.Append(c.out[:0]), body...)
	wait := c.config.Wait
	for range c.config.Tries {
		if _, err := c.dgram.SendTo(ctx, c.out, tsocket.Addr{}); err != nil {
			return nil, c.failed(op, cause(ctx, err))
		}
		answer, err := c.await(ctx, wait, t)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, tsocket.ErrTimeout) && ctx.Err() == nil:
			wait *= 2
		default:
			return nil, c.failed(op, cause(ctx, err))
		}
	}
	return nil, c.failed(op, ErrNoAnswer)
}

// cause is the context's error where that is what happened.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// await receives until the answer to the last request is there, or the time is
// over.
func (c *Client) await(ctx context.Context, wait time.Duration, t wire.PacketType) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		n, _, err := c.dgram.RecvFrom(ctx, c.in)
		if err != nil {
			return nil, err
		}
		h, body, err := wire.ParseHeader(c.in[:n])
		if err != nil || h.FromClient() || h.Epoch != wire.ToolEpoch || uint32(h.Call) != c.number {
			continue // of an earlier request, or nonsense
		}
		switch {
		case h.Type == wire.TypeAbort, h.Type == t && wire.IsDebugBadType(body):
			return nil, ErrNotSupported
		case h.Type == t:
			return body, nil
		}
	}
}

// Version returns the text by which the endpoint describes itself.
func (c *Client) Version(ctx context.Context) (string, error) {
	const op = "version"
	body, err := c.ask(ctx, op, wire.TypeVersion, wire.AppendVersionRequest(nil))
	if err != nil {
		return "", err
	}
	text, err := wire.ParseVersion(body)
	if err != nil {
		return "", c.failed(op, ErrBadAnswer)
	}
	return text, nil
}
