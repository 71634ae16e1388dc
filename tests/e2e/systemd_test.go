//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test plays systemd: it hands over the socket, and is told what happens.
func TestSystemdActivationAndNotify(t *testing.T) {
	s := newSite(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket(), Net: "unix"})
	require.NoError(t, err)
	require.NoError(t, os.Chmod(s.socket(), 0o666))
	defer l.Close()
	f, err := l.File()
	require.NoError(t, err)
	defer f.Close()
	path := filepath.Join(s.dir, "notify.sock")
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer told.Close()
	require.NoError(t, os.Chmod(path, 0o666))
	expect := func(what string) string {
		t.Helper()
		require.NoError(t, told.SetReadDeadline(time.Now().Add(patience)))
		b := make([]byte, 4096)
		n, err := told.Read(b)
		require.NoError(t, err, what)
		assert.Contains(t, string(b[:n]), what)
		return string(b[:n])
	}

	policy := s.file("policy.toml", examplePolicy)
	c := s.command("sh", "-c", "LISTEN_PID=$$ exec cnbus serve --policy "+policy)
	c.Env = append(c.Env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+path)
	c.ExtraFiles = []*os.File{f}
	b := s.startCmd(c)
	b.expect(`^serving sockets from systemd; `)
	expect("READY=1")
	s.ok("ls")
	b.signal(syscall.SIGHUP)
	assert.True(t, strings.Contains(expect("RELOADING=1"), "MONOTONIC_USEC="), "as Type=notify-reload wants it")
	expect("READY=1")
	assert.Zero(t, b.end(syscall.SIGTERM))
	expect("STOPPING=1")
	assert.FileExists(t, s.socket(), "it is systemd's")
}
