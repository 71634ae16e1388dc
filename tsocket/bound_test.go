package tsocket_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// Who binds is told at once whether the address is free, and has it until it is given back.
func TestBindTCP(t *testing.T) {
	a, err := tsocket.BindTCP(loopback4(t), false)
	require.NoError(t, err)
	require.NotZero(t, a.Addr().Port())
	l, err := a.Listen(nil)
	require.NoError(t, err)
	require.Equal(t, a.Addr(), l.Addr())
	_, err = tsocket.BindTCP(l.Addr(), false)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = tsocket.BindTCP(l.Addr(), true)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = tsocket.BindTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "192.0.2.77", 0)), false)
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	_, err = tsocket.BindTCP(tsocket.MustAddr(tsocket.UnixAddr("/x")), false)
	require.ErrorIs(t, err, tsocket.ErrInvalid)

	any4, err := tsocket.BindTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "0.0.0.0", 0)), false)
	require.NoError(t, err)
	require.NotZero(t, any4.Addr().Port(), "it is bound, unlike that of ListenTCP or DialTCP before their time")
	accepted := l.AcceptSend(context.Background())
	s, err := any4.Dial(context.Background(), l.Addr())
	require.NoError(t, err)
	defer s.Close()
	p, err := accepted.Wait(t.Context())
	require.NoError(t, err)
	defer p.Close()
	assert.Equal(t, any4.Addr().Port(), p.RemoteAddr().Port())
	_, err = any4.Dial(context.Background(), l.Addr())
	require.ErrorIs(t, err, tsocket.ErrClosed, "used up")
	_, err = any4.Listen(nil)
	require.ErrorIs(t, err, tsocket.ErrClosed)
	require.NoError(t, any4.Close())

	b, err := tsocket.BindTCP(loopback4(t), false)
	require.NoError(t, err)
	_, err = b.Dial(context.Background(), tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 1)))
	require.ErrorIs(t, err, tsocket.ErrInvalid)
	b, err = tsocket.BindTCP(loopback4(t), false)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = b.Dial(ctx, l.Addr())
	require.ErrorIs(t, err, tsocket.ErrCanceled)
	b, err = tsocket.BindTCP(b.Addr(), false)
	require.NoError(t, err, "it is free again")
	require.NoError(t, b.Close())

	require.NoError(t, l.Close())
	first, err := tsocket.BindTCP(loopback4(t), true)
	require.NoError(t, err)
	second, err := tsocket.BindTCP(first.Addr(), true)
	require.NoError(t, err)
	for _, b := range []*tsocket.BoundTCP{first, second} {
		l, err := b.Listen(&tsocket.ListenConfig{Backlog: 5})
		require.NoError(t, err)
		require.NoError(t, l.Close())
	}
}
