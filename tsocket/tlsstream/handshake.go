package tlsstream

import (
	"context"
	"crypto/tls"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/internal/layered"
)

// Client does the handshake of a client on s and returns the stream of TLS on
// top of it. c may be nil for a Config without anything, which is not enough: the name of the
// server is needed at least.
//
// When it fails s is the caller's still, and good for nothing but closing. The OpError's Err is
// an *Error, ErrCanceled, ErrTimeout, or the error of s. With TLS 1.3 a server that refuses the
// client's certificate does so after the handshake: the first read fails.
func Client(ctx context.Context, s *tsocket.Stream, c *Config) (*tsocket.Stream, error) {
	if c == nil {
		c = &Config{}
	}
	conf, err := c.client()
	if err != nil {
		return nil, fail(err)
	}
	return handshake(ctx, s, c, nil, func(t *transport) *tls.Conn { return tls.Client(t, conf) })
}

// ClientSend starts a Client.
func ClientSend(ctx context.Context, s *tsocket.Stream, c *Config) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(ctx, opName, func(ctx context.Context) (*tsocket.Stream, error) { return Client(ctx, s, c) })
}

// Server does the handshake of a server on s and returns the stream of TLS on
// top of it. c needs a certificate. Errors are as those of Client.
func Server(ctx context.Context, s *tsocket.Stream, c *Config) (*tsocket.Stream, error) {
	if c == nil {
		c = &Config{}
	}
	shown := &certificate{}
	conf, err := c.server(shown)
	if err != nil {
		return nil, fail(err)
	}
	return handshake(ctx, s, c, shown, func(t *transport) *tls.Conn { return tls.Server(t, conf) })
}

// ServerSend starts a Server.
func ServerSend(ctx context.Context, s *tsocket.Stream, c *Config) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(ctx, opName, func(ctx context.Context) (*tsocket.Stream, error) { return Server(ctx, s, c) })
}

// State returns what crypto/tls knows of the connection; false if s is none of
// this package's.
func State(s *tsocket.Stream) (tls.ConnectionState, bool) {
	o, ok := s.Ops().(*ops)
	if !ok {
		return tls.ConnectionState{}, false
	}
	return o.conn.ConnectionState(), true
}

// Plain returns the stream below s, nil if s is none of this package's.
func Plain(s *tsocket.Stream) *tsocket.Stream {
	o, ok := s.Ops().(*ops)
	if !ok {
		return nil
	}
	return o.Lower
}

const opName = "tls handshake"

func fail(err error) error { return &tsocket.OpError{Op: opName, Err: err} }

func handshake(ctx context.Context, s *tsocket.Stream, c *Config, shown *certificate, conn func(*transport) *tls.Conn) (*tsocket.Stream, error) {
	o := &ops{Layer: tsocket.Layer{Lower: s}, keep: c.KeepPlain, shown: shown}
	o.life, o.end = context.WithCancel(context.Background())
	o.out = layered.NewOutbox(s, o.life)
	o.t = &transport{records: tsocket.NewPDUReader(s, recordSize, maxRecord), out: o.out, ctx: ctx, greets: true}
	o.conn = conn(o.t)
	o.rule = s.SetCancelRule(tsocket.CancelLoses)

	err := o.conn.Handshake()
	if flushed := o.out.FlushNow(ctx); err == nil && flushed != nil {
		err = o.t.fail(flushed)
	}
	if err != nil {
		o.end()
		s.SetCancelRule(o.rule)
		return nil, fail(tsocket.Cause(classify(err)))
	}
	o.t.greets = false
	return tsocket.NewStream(o), nil
}
