package proto

import (
	"testing"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (r *rig) ask(typ wire.DebugType, index int32) []byte {
	r.t.Helper()
	h := wire.ToolRequest(wire.TypeDebug, 77)
	r.inFrom(clientAddr, h, wire.DebugRequest{Type: typ, Index: index}.Append(nil)...)
	out := r.out()
	require.Len(r.t, out, 1)
	p := out[0]
	assert.Equal(r.t, wire.Header{Epoch: wire.ToolEpoch, Call: 77, Type: wire.TypeDebug, Flags: wire.LastPacket}, p.Header)
	return p.body
}

func TestDebugRequests(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{RepliesPerSecond: -1}})
	r.auto()
	c := r.begin(CallParams{}, []byte("hello"))
	r.out()
	r.dataIn(1, 1, last, "x")

	s, err := wire.ParseDebugStats(r.ask(wire.DebugGetStats, 0))
	require.NoError(t, err)
	assert.Equal(t, wire.DebugVersion, s.Version)
	assert.EqualValues(t, 1, s.CallsExecuted)

	all := map[uint8]wire.DebugConn{}
	for i := int32(0); ; i++ {
		d, err := wire.ParseDebugConn(r.ask(wire.DebugGetAllConn, i), wire.DebugVersion)
		require.NoError(t, err)
		if d.End() {
			assert.EqualValues(t, 2, i)
			break
		}
		all[d.Type] = d
	}
	client, server := all[wire.DebugClient], all[wire.DebugServer]
	epoch, cid, _ := c.ID()
	assert.Equal(t, epoch, client.Epoch)
	assert.Equal(t, cid.ConnID(), client.CID)
	assert.Equal(t, [4]byte{10, 0, 0, 2}, client.Host)
	assert.EqualValues(t, 7000, client.Port)
	assert.EqualValues(t, 1, client.Call[0])
	assert.EqualValues(t, wire.DebugStateActive, client.State[0])
	assert.EqualValues(t, 1, client.Sec.PacketsSent)
	assert.EqualValues(t, wire.DebugSecNull, client.Sec.Type)
	assert.EqualValues(t, wire.DebugModeReceiving, server.Mode[0])
	assert.EqualValues(t, wire.DebugPacketsIn, server.Other[0])

	d, err := wire.ParseDebugConn(r.ask(wire.DebugGetConn, 1), wire.DebugVersion)
	require.NoError(t, err)
	assert.False(t, d.End())
	d, _ = wire.ParseDebugConn(r.ask(wire.DebugGetConn, 2), wire.DebugVersion)
	assert.True(t, d.End())

	p, err := wire.ParseDebugPeer(r.ask(wire.DebugGetPeer, 0))
	require.NoError(t, err)
	assert.Equal(t, [4]byte{10, 0, 0, 2}, p.Host)
	p, _ = wire.ParseDebugPeer(r.ask(wire.DebugGetPeer, 2))
	assert.True(t, p.End())
	p, _ = wire.ParseDebugPeer(r.ask(wire.DebugGetPeer, -1))
	assert.True(t, p.End())

	rx, err := wire.ParseRxStats(r.ask(wire.DebugGetRxStats, 0))
	require.NoError(t, err)
	assert.EqualValues(t, 1, rx.ClientConns)
	assert.EqualValues(t, 1, rx.ServerConns)
	assert.EqualValues(t, 2, rx.PeerStructs)
	assert.EqualValues(t, 1, rx.DataPacketsSent)

	assert.True(t, wire.IsDebugBadType(r.ask(99, 0)))
	assert.NotContains(t, r.stats.Received, 0xffff)
}

func TestDebugCanBeTurnedOff(t *testing.T) {
	version := func(r *rig) []pkt {
		r.inFrom(clientAddr, wire.ToolRequest(wire.TypeVersion, 5), 0)
		return r.out()
	}
	r := newRig(t, Config{Version: "a version"})
	out := version(r)
	require.Len(t, out, 1)
	assert.Len(t, out[0].body, 65)
	text, err := wire.ParseVersion(out[0].body)
	require.NoError(t, err)
	assert.Equal(t, "a version", text)
	assert.EqualValues(t, 5, out[0].Call)
	assert.Equal(t, wire.LastPacket, out[0].Flags)

	r = newRig(t, Config{Debug: Debug{NoVersion: true, NoDebug: true}})
	assert.Empty(t, version(r))
	r.inFrom(clientAddr, wire.ToolRequest(wire.TypeDebug, 5), make([]byte, 8)...)
	assert.Empty(t, r.out())

	r = newRig(t, Config{Debug: Debug{NoConns: true}})
	r.begin(CallParams{}, []byte("x"))
	r.out()
	d, err := wire.ParseDebugConn(r.ask(wire.DebugGetAllConn, 0), wire.DebugVersion)
	require.NoError(t, err)
	assert.True(t, d.End())
}

func TestDebugRequestsThatAreNone(t *testing.T) {
	r := newRig(t, Config{})
	r.inFrom(clientAddr, wire.ToolRequest(wire.TypeDebug, 5), make([]byte, 7)...)
	h := wire.ToolRequest(wire.TypeDebug, 5)
	h.Flags = wire.LastPacket
	r.inFrom(clientAddr, h, make([]byte, 8)...)
	r.inFrom(clientAddr, wire.ToolRequest(wire.TypeVersion, 5), 1)
	assert.Empty(t, r.out())
}
