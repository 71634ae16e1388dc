package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

func TestEcho(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.ListenPacket("udp", host+":0")
		require.NoError(t, err)
		at := l.LocalAddr().String()
		require.NoError(t, l.Close())

		ctx, cancel := context.WithCancel(t.Context())
		var trace bytes.Buffer
		done := make(chan error)
		go func() { done <- serve(ctx, &rxrpc.Config{}, at) }()
		text := "hello\n" + strings.Repeat("0123456789", 5000) + "\n\nlast\n"
		var out bytes.Buffer
		for { // until the server is there
			out.Reset()
			if err = client(t.Context(), &rxrpc.Config{Hooks: &rxrpc.Hooks{Packet: rxrpc.TraceTo(&trace)}}, at, strings.NewReader(text), &out); err == nil || t.Context().Err() != nil {
				break
			}
		}
		require.NoError(t, err)
		assert.Equal(t, text, out.String())
		assert.Contains(t, trace.String(), "service 1234")
		cancel()
		require.NoError(t, <-done)
	}
}
