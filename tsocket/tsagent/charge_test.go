package tsagent

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// What a socket was charged is given back once: a SENDTO that waits may be over only after its socket.
func TestChargedOnce(t *testing.T) {
	cred := connector.Cred{UID: 1001}
	a := &Agent{uids: map[uint32]*account{1001: {sockets: 2, bytes: 100}}}
	a.cfg = (&Config{}).withDefaults()
	s := &sock{a: a, own: &owner{a: a, cred: cred}}
	require.NoError(t, s.charge(50))
	require.NoError(t, s.charge(70))
	s.uncharge(70)
	require.Equal(t, 150, a.uids[1001].bytes)
	s.release()
	s.uncharge(50)
	require.Equal(t, 100, a.uids[1001].bytes)
	require.ErrorIs(t, s.charge(1), errSockGone)
}
