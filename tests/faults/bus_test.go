//go:build linux

package faults

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

var (
	echoID   = cbid.Make(0x1000, 1)
	silentID = cbid.Make(0x1000, 2)
	toID     = connector.Dest{}
)

// limited is a context that ends with the test, or with its patience.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// bus connects; what it opens is closed with the test at the latest.
func (s *site) bus(name string) *client.Bus {
	s.t.Helper()
	return s.busWith(&client.Config{Name: name})
}

func (s *site) busWith(c *client.Config) *client.Bus {
	s.t.Helper()
	c.Socket, c.Logger = s.cfg.Socket, slog.New(slog.DiscardHandler)
	c.DialTimeout = patience // a broker that is flooded, with the race detector, on a slow machine, may not greet for seconds
	b, err := client.Dial(limited(s.t), c)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = b.Close() })
	return b
}

func endpoint(t testing.TB, b *client.Bus) *client.Endpoint {
	t.Helper()
	e, err := b.OpenEndpoint(limited(t))
	require.NoError(t, err)
	return e
}

func member(t testing.TB, b *client.Bus, group uint32) *client.Endpoint {
	t.Helper()
	e := endpoint(t, b)
	require.NoError(t, e.Join(limited(t), group))
	return e
}

func echo(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) }

func silent(context.Context, *connector.Delivery) {}

// echoes registers callbacks that send back what they get.
func echoes(t testing.TB, b *client.Bus, ids ...cbid.ID) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, b.AddCallback(limited(t), id, "echo", connector.HandlerFunc(echo)))
	}
}

// talks shows that e and the agent of echoID reach each other.
func talks(t testing.TB, e *client.Endpoint, times int) {
	t.Helper()
	for range times {
		ev, err := e.Call(limited(t), connector.Message{ID: echoID, Data: []byte("hello")}, toID)
		require.NoError(t, err)
		require.Equal(t, "hello", string(ev.Msg.Data))
	}
}

func number(n uint64, size int) []byte {
	return append(native.AppendUint64(nil, n), make([]byte, size-8)...)
}
