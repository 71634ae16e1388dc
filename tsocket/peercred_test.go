package tsocket_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestPeerCred(t *testing.T) {
	onlyLinux(t)
	ln, err := tsocket.ListenUnix(socketPath(t, "c"), nil)
	require.NoError(t, err)
	closeLater(t, ln)
	a, err := tsocket.DialUnix(soon(t), tsocket.Addr{}, ln.Addr())
	require.NoError(t, err)
	b, err := ln.Accept(soon(t))
	require.NoError(t, err)
	closeLater(t, a, b)
	c, d := unixPair(t)
	for _, s := range []*tsocket.Stream{a, b, c, d} {
		who, err := s.PeerCred()
		require.NoError(t, err)
		assert.Equal(t, os.Getpid(), who.PID)
		assert.EqualValues(t, os.Geteuid(), who.UID)
		assert.EqualValues(t, os.Getegid(), who.GID)
		groups, err := os.Getgroups()
		require.NoError(t, err)
		got := make([]int, len(who.Groups))
		for i, g := range who.Groups {
			got[i] = int(g)
		}
		assert.ElementsMatch(t, groups, got)
	}
	e, _ := tcpPair(t)
	_, err = e.PeerCred()
	require.ErrorIs(t, err, tsocket.ErrNotSupported)
	f, _ := tsocket.Pipe()
	closeLater(t, f)
	_, err = f.PeerCred()
	require.ErrorIs(t, err, tsocket.ErrNotSupported)
	require.NoError(t, a.Close())
	_, err = a.PeerCred()
	require.ErrorIs(t, err, tsocket.ErrClosed)
}

func TestListenMode(t *testing.T) {
	path := socketPath(t, "m")
	ln, err := tsocket.ListenUnix(path, &tsocket.ListenConfig{Mode: 0o601})
	require.NoError(t, err)
	closeLater(t, ln)
	st, err := os.Stat(path.Path())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o601), st.Mode().Perm())
}
