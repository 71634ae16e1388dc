package tsocket_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// replace puts something else into the place of a socket's file: a symbolic link to the file that it returns, which has mode 0600.
func replace(t *testing.T, path string) (victim string) {
	t.Helper()
	victim = path + ".victim"
	require.NoError(t, os.WriteFile(victim, []byte("x"), 0o600))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink(victim, path))
	return victim
}

// untouched: the link and what it leads to are as they were.
func untouched(t *testing.T, path, victim string) {
	t.Helper()
	to, err := os.Readlink(path)
	require.NoError(t, err)
	assert.Equal(t, victim, to)
	info, err := os.Lstat(victim)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// TestListenersFile: Close unlinks the file that the listener has made, and nothing that has come into its place.
func TestListenersFile(t *testing.T) {
	at := socketPath(t, "s")
	l, err := tsocket.ListenUnix(at, nil)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = os.Lstat(at.Path())
	require.ErrorIs(t, err, os.ErrNotExist)

	l, err = tsocket.ListenUnix(at, nil)
	require.NoError(t, err)
	victim := replace(t, at.Path())
	require.NoError(t, l.Close())
	untouched(t, at.Path(), victim)
	require.NoError(t, os.Remove(at.Path()))

	l, err = tsocket.ListenUnix(at, nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(at.Path()))
	other, err := tsocket.ListenUnix(at, nil)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = os.Lstat(at.Path())
	require.NoError(t, err, "it is another listener's")
	require.NoError(t, os.Remove(at.Path()))
	require.NoError(t, other.Close(), "somebody has removed it")
}

// TestModeOfListenersFile: it is set whatever the umask is, and never of a file that has come into its place.
func TestModeOfListenersFile(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o666, 0o777} {
		at := socketPath(t, "s")
		l, err := tsocket.ListenUnix(at, &tsocket.ListenConfig{Mode: mode})
		require.NoError(t, err)
		info, err := os.Lstat(at.Path())
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode().Perm())
		require.NoError(t, l.Close())
	}
	at := socketPath(t, "s")
	b, err := tsocket.BindUnix(at)
	require.NoError(t, err)
	victim := replace(t, at.Path())
	_, err = b.Listen(&tsocket.ListenConfig{Mode: 0o666})
	require.ErrorIs(t, err, syscall.ESTALE)
	untouched(t, at.Path(), victim)
}

// TestBindUnix: who binds is told at once whether the path is free, and leaves it behind only connected.
func TestBindUnix(t *testing.T) {
	at, to := socketPath(t, "s"), socketPath(t, "to")
	gone := func() {
		t.Helper()
		_, err := os.Lstat(at.Path())
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	_, err := tsocket.BindUnix(loopback4(t))
	require.ErrorIs(t, err, tsocket.ErrInvalid)
	b, err := tsocket.BindUnix(at)
	require.NoError(t, err)
	assert.Equal(t, at, b.Addr())
	_, err = tsocket.BindUnix(at)
	isErrno(t, syscall.EADDRINUSE, err)
	_, err = tsocket.DialUnix(soon(t), tsocket.Addr{}, at)
	isErrno(t, syscall.ECONNREFUSED, err)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close(), "idempotent")
	gone()
	_, err = b.Listen(nil)
	require.ErrorIs(t, err, tsocket.ErrClosed)

	b, err = tsocket.BindUnix(at)
	require.NoError(t, err)
	_, err = b.Dial(soon(t), to)
	isErrno(t, syscall.ENOENT, err)
	gone()

	l, err := tsocket.ListenUnix(to, nil)
	require.NoError(t, err)
	defer l.Close()
	b, err = tsocket.BindUnix(at)
	require.NoError(t, err)
	s, err := b.Dial(soon(t), to)
	require.NoError(t, err)
	assert.Equal(t, at, s.LocalAddr())
	require.NoError(t, s.Close())
	_, err = os.Lstat(at.Path())
	require.NoError(t, err, "as bind(2) leaves it")
	require.NoError(t, os.Remove(at.Path()))

	b, err = tsocket.BindUnix(at)
	require.NoError(t, err)
	m, err := b.Listen(&tsocket.ListenConfig{KeepPath: true})
	require.NoError(t, err)
	require.NoError(t, m.Close())
	_, err = os.Lstat(at.Path())
	require.NoError(t, err)

	abstract := tsocket.MustAddr(tsocket.AbstractAddr(fmt.Sprint("cnbus-test-bind-", os.Getpid())))
	b, err = tsocket.BindUnix(abstract)
	require.NoError(t, err)
	m, err = b.Listen(&tsocket.ListenConfig{Mode: 0o600})
	require.NoError(t, err)
	require.NoError(t, m.Close())
}
