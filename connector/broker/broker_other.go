//go:build !linux

package broker

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// The broker needs the credentials and the locks of Linux; elsewhere New fails.

type loop struct{ hub *hub }

type local struct{}

func (p *local) inside() bool { return false }

func (p *local) reply(context.Context, []byte) error { return connector.ErrNotSupported }

type tlsServer struct{}

func newTLSServer(*loop, *TLSConfig) (*tlsServer, error) { return nil, connector.ErrNotSupported }
func (s *tlsServer) start()                              {}
func (s *tlsServer) addr() string                        { return "" }

type socketLock struct{ path string }

func newLoop(*hub, *slog.Logger) (*loop, error) {
	return nil, &connector.OpError{Op: "serve", Err: connector.ErrNotSupported}
}

func (l *loop) run() error                             { return connector.ErrNotSupported }
func (l *loop) end()                                   {}
func (l *loop) flush()                                 {}
func (l *loop) post(func()) bool                       { return false }
func (l *loop) do(context.Context, func()) error       { return connector.ErrNotSupported }
func (l *loop) drain(string, time.Duration)            {}
func (l *loop) pair(context.Context) (net.Conn, error) { return nil, connector.ErrNotSupported }
func (b *Broker) listen() error                        { return connector.ErrNotSupported }

// Bus needs what New does.
func (b *Broker) Bus(context.Context, string) (connector.Bus, error) {
	return nil, &connector.OpError{Op: "bus", Err: connector.ErrNotSupported}
}

func (b *Broker) cleanup() {}
