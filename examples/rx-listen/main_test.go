package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

func TestListen(t *testing.T) {
	t.Cleanup(rxrpc.CloseShared)
	ctx, cancel := context.WithCancel(t.Context())
	at, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- serve(ctx, "127.0.0.1:0", func(a rxrpc.Addr) { at <- a.Addr.String() }) }()
	var server string
	select {
	case server = <-at:
	case err := <-done:
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for _, text := range []string{"", "hello", strings.Repeat("lots of it ", 20000)} {
		wg.Go(func() {
			reply, err := request(t.Context(), server, []byte(text))
			assert.NoError(t, err)
			assert.Equal(t, strings.ToUpper(text), string(reply))
		})
	}
	wg.Wait()
	_, err := request(t.Context(), server, make([]byte, longest+1))
	assert.True(t, errors.Is(err, rxrpc.Abort(rxrpc.UserAbort)) || errors.Is(err, syscall.ESHUTDOWN), "aborted, or noticed after it: %v", err)
	cancel()
	require.NoError(t, <-done)
}
