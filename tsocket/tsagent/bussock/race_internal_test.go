package bussock

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// A listener that is closed while somebody connects leaves no stream behind.
func TestListenerIsClosedDuringConnect(t *testing.T) {
	b := loopback.New(nil).Open()
	defer b.Close()
	n, err := New(t.Context(), b, nil)
	require.NoError(t, err)
	defer n.Close()
	l, err := n.Listen(t.Context(), cbid.Make(0x70000000, 9), nil)
	require.NoError(t, err)
	s := newStream(n)
	s.backlog = l
	from := origin{n.Port(), firstStream}
	require.Zero(t, l.enter(s, from).errno)
	require.NoError(t, l.Close())
	require.Equal(t, syscall.ECONNREFUSED, l.admit(s, from, connector.Cred{}).errno)
	require.Zero(t, n.Stats().Streams)
	require.Zero(t, n.Stats().Peers)
}
