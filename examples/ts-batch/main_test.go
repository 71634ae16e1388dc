package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestReceive(t *testing.T) {
	at := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0))
	in, err := tsocket.UDP(at, tsocket.Addr{})
	require.NoError(t, err)
	defer in.Close()
	out, err := tsocket.UDP(at, tsocket.Addr{})
	require.NoError(t, err)
	defer out.Close()
	msgs := make([]tsocket.Message, 50)
	for i := range msgs {
		msgs[i] = tsocket.Message{Data: []byte("0123456789"), Addr: in.LocalAddr()}
	}
	_, err = out.SendBatch(t.Context(), msgs)
	require.NoError(t, err)
	totals, calls, err := receive(t.Context(), in, 50)
	require.NoError(t, err)
	assert.Equal(t, map[tsocket.Addr]total{out.LocalAddr(): {50, 500}}, totals)
	var text bytes.Buffer
	report(&text, totals, calls)
	assert.Contains(t, text.String(), "\t50 datagrams\t500 bytes\n")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = receive(ctx, in, 0)
	assert.ErrorIs(t, err, context.Canceled)
}
