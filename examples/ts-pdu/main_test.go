package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestServe(t *testing.T) {
	a, b, err := tsocket.SocketPair()
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- serve(t.Context(), b) }()
	ctx := t.Context()
	for _, text := range []string{"one", "", "three"} {
		_, err := a.Writev(ctx, frame([]byte(text))...)
		require.NoError(t, err)
	}
	require.NoError(t, a.CloseWrite(ctx))
	in := tsocket.NewPDUReader(a, tsocket.U32Size, maxPDU)
	for _, want := range []string{"ONE", "", "THREE"} {
		pdu, err := in.Next(ctx)
		require.NoError(t, err)
		assert.Equal(t, want, string(pdu[4:]))
	}
	require.NoError(t, <-done)
	require.NoError(t, b.Close())
	require.NoError(t, a.Close())
}
