package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

func TestPipe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "np")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	l, err := tsocket.ListenUnix(tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(dir, "echo"))), nil)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	served := make(chan error, 2)
	go func() {
		for range 2 {
			s, err := l.Accept(ctx)
			if err == nil {
				err = serve(ctx, s)
			}
			served <- err
		}
	}()

	var out bytes.Buffer
	require.NoError(t, ask(ctx, &out, dir, "ECHO", []string{"hello", "", "world"}))
	assert.Equal(t, "ECHO in message mode\nhello\nworld\n", out.String())
	require.NoError(t, <-served)

	_, _, err = npa.Connect(ctx, dir, "echo", &npa.Request{})
	require.ErrorIs(t, err, npa.StatusAccessDenied)
	require.Equal(t, syscall.EACCES, tsocket.Errno(<-served))
}
