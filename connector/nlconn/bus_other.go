//go:build !linux

package nlconn

import (
	"context"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

var _ connector.Bus = (*Bus)(nil)

// Bus is a process's part in the connector messages of a network namespace; only Linux has
// any.
type Bus struct{}

// Open fails with connector.ErrNotSupported.
func Open(*Config) (*Bus, error) { return nil, notHere("open") }

// Port returns 0.
func (b *Bus) Port() uint32 { return 0 }

// AddCallback fails with connector.ErrNotSupported.
func (b *Bus) AddCallback(context.Context, cbid.ID, string, connector.Handler) error {
	return notHere("add callback")
}

// DelCallback fails with connector.ErrNotSupported.
func (b *Bus) DelCallback(context.Context, cbid.ID) error { return notHere("delete callback") }

// Send fails with connector.ErrNotSupported.
func (b *Bus) Send(context.Context, connector.Message, connector.Dest) error { return notHere("send") }

// Post fails with connector.ErrNotSupported.
func (b *Bus) Post(context.Context, connector.Message, connector.Dest) error { return notHere("send") }

// Endpoint fails with connector.ErrNotSupported.
func (b *Bus) Endpoint(context.Context) (connector.Endpoint, error) { return nil, notHere("endpoint") }

// Close does nothing.
func (b *Bus) Close() error { return nil }
