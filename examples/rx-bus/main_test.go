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
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
)

// The server's process is this one again.
const serveEnv = "RX_BUS_TEST_SERVE"

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		if err := run(context.Background(), true, nil, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestTwoEnginesInTwoProcesses(t *testing.T) {
	dir, err := os.MkdirTemp("", "rb")
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

	server := exec.Command("/proc/self/exe")
	server.Env = append(os.Environ(), serveEnv+"=1")
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()

	text := "hello\n" + strings.Repeat("0123456789", 5000) + "\nlast\n"
	var out bytes.Buffer
	for end := time.Now().Add(2 * time.Minute); ; { // until the server is there
		out.Reset()
		if err = run(t.Context(), false, strings.NewReader(text), &out); err == nil || time.Now().After(end) {
			break
		}
	}
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 3)
	for i, want := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		got, from, ok := strings.Cut(lines[i], ", says ")
		require.True(t, ok)
		assert.Equal(t, want, got)
		assert.Regexp(t, regexp.MustCompile(`^\[fd63:6e62:7573::.*\]:7000$`), from)
	}
	assert.Empty(t, udpSockets(t, server.Process.Pid))
}

// udpSockets returns the UDP sockets that a process has open.
func udpSockets(t *testing.T, pid int) (found []string) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	require.NotEmpty(t, fds)
	for _, table := range []string{"udp", "udp6"} {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil { // no IPv6
			continue
		}
		for _, fd := range fds {
			link, _ := os.Readlink(fd) // it may be closed by now
			if inode, ok := strings.CutPrefix(link, "socket:["); ok && strings.Contains(string(list), " "+strings.TrimSuffix(inode, "]")+" ") {
				found = append(found, fd)
			}
		}
	}
	return found
}
