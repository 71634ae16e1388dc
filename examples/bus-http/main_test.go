//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
)

// The server's process is this one again.
const serveEnv = "BUS_HTTP_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		if err := run(context.Background(), "0x7001:1", dir, nil, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestHTTPBetweenTwoProcesses(t *testing.T) {
	dir, err := os.MkdirTemp("", "bh")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	t.Setenv("CNBUS_SOCKET", socket)
	b, err := broker.New(&broker.Config{Socket: socket, HistoryDir: "-", Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	defer func() { stop(); require.NoError(t, <-served) }()

	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), big, 0o600))
	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), serveEnv+"="+dir)
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()

	var out bytes.Buffer
	whoami := []string{"http://0x7001:1/whoami"}
	for end := time.Now().Add(2 * time.Minute); ; { // until the server is there
		if err = run(t.Context(), "", "", whoami, &out); err == nil || time.Now().After(end) {
			break
		}
	}
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("uid %d, pid %d\n", os.Getuid(), os.Getpid()), out.String())

	out.Reset()
	require.NoError(t, run(t.Context(), "", "", []string{"http://0x7001:1/big", whoami[0]}, &out))
	assert.True(t, bytes.HasPrefix(out.Bytes(), big))
	require.ErrorContains(t, run(t.Context(), "", "", []string{"http://0x7001:1/nosuch"}, &out), "404")
	err = run(t.Context(), "", "", []string{"http://0x7001:2/"}, &out)
	require.ErrorContains(t, err, "no such id", "nobody listens there")
}
