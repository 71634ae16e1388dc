package rxrpc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestSnapshot: both sides of a call that is half done are seen, with what belongs to them.
func TestSnapshot(t *testing.T) {
	server := listening(t, 52, nil)
	e := open(t, local4, nil)
	call, err := e.Client(server.Getsockname().Addr, nil).NewCall(soon(t), 52)
	require.NoError(t, err)
	_, err = call.WriteLast(pattern(3000))
	require.NoError(t, err)
	require.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)
	sends(t, server, rxrpc.Msg{Control: command(9, rxrpc.CtlAccept)})
	got, _ := phase(t, server, 9)
	require.Len(t, got, 3000)

	s := e.Snapshot()
	require.Len(t, s.Calls, 1)
	c := s.Calls[0]
	assert.Equal(t, "ClAwtRpl", c.State)
	assert.True(t, c.Client)
	assert.Equal(t, server.Getsockname().Addr, c.Remote)
	assert.Nil(t, c.Socket)
	require.Len(t, s.Conns, 1)
	assert.Equal(t, 1, s.Conns[0].Active)
	assert.Equal(t, c.Conn&^3, s.Conns[0].Conn)
	require.Len(t, s.Peers, 1)
	assert.Equal(t, 1, s.Peers[0].Conns)
	assert.NotZero(t, s.Peers[0].BytesOut)

	shared, err := rxrpc.Shared(server.Getsockname().Addr, nil)
	require.NoError(t, err)
	defer shared.Close()
	s = shared.Snapshot()
	require.Len(t, s.Calls, 1)
	assert.Equal(t, "SvAckReq", s.Calls[0].State)
	assert.Same(t, server, s.Calls[0].Socket)
	assert.EqualValues(t, 9, s.Calls[0].Tag)
	assert.True(t, s.Calls[0].HasTag)
	assert.Equal(t, [2]uint32{c.Conn, c.Call}, [2]uint32{s.Calls[0].Conn, s.Calls[0].Call})
	require.NoError(t, call.Close())
}
