package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestEcho(t *testing.T) {
	l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- serve(context.Background(), l) }()
	for _, text := range []string{"hello\n", strings.Repeat("0123456789", 10_000)} {
		var out bytes.Buffer
		require.NoError(t, client(t.Context(), l.Addr().AddrPort().String(), strings.NewReader(text), &out))
		assert.Equal(t, text, out.String())
	}
	require.NoError(t, l.Close())
	assert.ErrorIs(t, <-done, net.ErrClosed)
}
