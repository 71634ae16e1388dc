package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDebugRequest(t *testing.T) {
	r := DebugRequest{Type: DebugGetAllConn, Index: 7}
	b := r.Append(nil)
	assert.Equal(t, unhex(t, "00000003 00000007"), b)
	got, err := ParseDebugRequest(append(bytes.Clone(b), 1, 2, 3))
	require.NoError(t, err)
	assert.Equal(t, r, got)
	for n := range b {
		_, err := ParseDebugRequest(b[:n])
		require.ErrorIs(t, err, ErrTruncated)
	}
	assert.False(t, IsDebugBadType(b))
	bad := AppendDebugBadType(nil)
	assert.Equal(t, unhex(t, "fffffff8 fffffff8"), bad)
	assert.True(t, IsDebugBadType(bad))
	assert.False(t, IsDebugBadType(append(bad, 0)))
	assert.False(t, IsDebugBadType(bad[:7]))
}

// numbered is a body in which the byte at offset i is i+1.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

// Every field is where the table of section 7 has it.
func TestDebugLayout(t *testing.T) {
	b := numbered(DebugConnSize)
	u32 := func(off int) uint32 { return binary.BigEndian.Uint32(b[off:]) }
	u16 := func(off int) uint16 { return binary.BigEndian.Uint16(b[off:]) }

	s, err := ParseDebugStats(b[:DebugStatsSize])
	require.NoError(t, err)
	assert.Equal(t, DebugStats{
		FreePackets: int32(u32(0)), PacketReclaims: int32(u32(4)), CallsExecuted: int32(u32(8)), WaitingForPackets: b[12],
		UsedFDs: b[13], Version: b[14], Waiting: int32(u32(16)), IdleThreads: int32(u32(20)), Waited: int32(u32(24)), Packets: int32(u32(28)),
	}, s)

	c, err := ParseDebugConn(b, DebugVersion)
	require.NoError(t, err)
	four := func(off int) (v [4]uint8) { copy(v[:], b[off:]); return v }
	want := DebugConn{
		Host: four(0), CID: CID(u32(4)), Serial: Serial(u32(8)),
		Call:  [4]CallNumber{CallNumber(u32(12)), CallNumber(u32(16)), CallNumber(u32(20)), CallNumber(u32(24))},
		Error: int32(u32(28)), Port: u16(32), Flags: b[34], Type: b[35], Security: SecurityIndex(b[36]),
		State: four(40), Mode: four(44), CallFlags: four(48), Other: four(52),
		Sec: DebugSecurity{
			Type: b[56], Level: b[57], Flags: u32(68), Expires: u32(72), PacketsReceived: u32(76), PacketsSent: u32(80),
			BytesReceived: u32(84), BytesSent: u32(88),
		},
		Epoch: Epoch(u32(132)), NatMTU: u32(136),
	}
	assert.Equal(t, want, c)

	// Version 'L' had its octets three bytes earlier, and neither epoch nor MTU.
	old, err := ParseDebugConn(b[:172], DebugVersionSecStats)
	require.NoError(t, err)
	want.State, want.Mode, want.CallFlags, want.Other = four(37), four(41), four(45), four(49)
	want.Epoch, want.NatMTU = 0, 0
	assert.Equal(t, want, old)
	older, err := ParseDebugConn(b[:56], 'K')
	require.NoError(t, err)
	want.Sec = DebugSecurity{}
	assert.Equal(t, want, older)

	p, err := ParseDebugPeer(b[:DebugPeerSize])
	require.NoError(t, err)
	i32 := func(off int) int32 { return int32(u32(off)) }
	assert.Equal(t, DebugPeer{
		Host: four(0), Port: u16(4), IfMTU: u16(6), IdleWhen: u32(8), RefCount: u16(12), BurstSize: b[14], Burst: b[15],
		BurstWait: DebugTime{i32(16), i32(20)}, RTT: u32(24), RTTDev: u32(28), Timeout: DebugTime{i32(32), i32(36)}, Sent: u32(40),
		Resends: u32(44), InPacketSkew: i32(48), OutPacketSkew: i32(52), RateFlag: i32(56), NatMTU: u16(60), MaxMTU: u16(62),
		MaxDgramPackets: u16(64), IfDgramPackets: u16(66), MTU: u16(68), CWind: u16(70), NDgramPackets: u16(72), CongestSeq: u16(74),
		BytesSent:     uint64(u32(76))<<32 | uint64(u32(80)),
		BytesReceived: uint64(u32(84))<<32 | uint64(u32(88)),
	}, p)
}

func TestRxStatsLayout(t *testing.T) {
	b := make([]byte, RxStatsSize)
	for i := range RxStatsSize / 4 {
		binary.BigEndian.PutUint32(b[4*i:], uint32(i))
	}
	s, err := ParseRxStats(b)
	require.NoError(t, err)
	assert.EqualValues(t, 0, s.PacketRequests)
	assert.EqualValues(t, 10, s.SendSelects)
	assert.EqualValues(t, 11, s.PacketsRead[0])
	assert.EqualValues(t, 23, s.PacketsRead[12])
	assert.EqualValues(t, 24, s.DataPacketsRead)
	assert.EqualValues(t, 28, s.PacketsSent[0])
	assert.EqualValues(t, 41, s.AckPacketsSent)
	assert.EqualValues(t, 48, s.IgnoreAckedPacket)
	assert.Equal(t, DebugTime{49, 50}, s.TotalRTT)
	assert.Equal(t, DebugTime{53, 54}, s.MaxRTT)
	assert.EqualValues(t, 55, s.RTTSamples)
	assert.EqualValues(t, 66, s.Busies)

	out := s.Append(nil)
	assert.Equal(t, b[:4*rxStatsWords], out[:4*rxStatsWords])
	assert.Equal(t, make([]byte, 16), out[4*rxStatsWords:], "spares")

	_, err = ParseRxStats(AppendDebugBadType(nil))
	require.ErrorIs(t, err, ErrTruncated)
	s, err = ParseRxStats(b[:4*28])
	require.NoError(t, err)
	assert.EqualValues(t, 27, s.SpuriousPacketsRead)
	assert.Zero(t, s.PacketsSent)
	_, err = ParseRxStats(b[:3])
	require.ErrorIs(t, err, ErrTruncated)
}

// record is a debug record of any kind.
type record struct {
	name    string
	size    int
	least   int // bytes that must be there
	reparse func(b []byte) ([]byte, error)
}

var records = []record{
	{"stats", DebugStatsSize, debugStatsMin, func(b []byte) ([]byte, error) {
		s, err := ParseDebugStats(b)
		return s.Append(nil), err
	}},
	{"conn", DebugConnSize, debugConnMin, func(b []byte) ([]byte, error) {
		c, err := ParseDebugConn(b, DebugVersion)
		return c.Append(nil), err
	}},
	{"peer", DebugPeerSize, debugPeerMin, func(b []byte) ([]byte, error) {
		p, err := ParseDebugPeer(b)
		return p.Append(nil), err
	}},
	{"rxstats", RxStatsSize, 4, func(b []byte) ([]byte, error) {
		s, err := ParseRxStats(b)
		return s.Append(nil), err
	}},
}

func TestDebugRecordsTruncated(t *testing.T) {
	for _, r := range records {
		b := numbered(r.size)
		for n := range r.size + 1 {
			out, err := r.reparse(b[:n:n])
			if n < r.least {
				require.ErrorIs(t, err, ErrTruncated, "%s, %d bytes", r.name, n)
				continue
			}
			require.NoError(t, err, "%s, %d bytes", r.name, n)
			require.Len(t, out, r.size, "%s, %d bytes", r.name, n)
			for i := range out {
				require.True(t, out[i] == 0 || i < n && out[i] == b[i], "%s, %d bytes: byte %d is %d", r.name, n, i, out[i])
			}
		}
	}
}

// What was appended is what is parsed and appended again; spares are zero
// whatever they were.
func TestDebugRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(records).Draw(t, "record")
		b := rapid.SliceOfN(rapid.Byte(), r.size, r.size+8).Draw(t, "bytes")
		once, err := r.reparse(b)
		require.NoError(t, err)
		twice, err := r.reparse(once)
		require.NoError(t, err)
		require.Equal(t, once, twice)
	})
}

func TestDebugEnds(t *testing.T) {
	c := DebugConnEnd()
	assert.True(t, c.End())
	assert.False(t, (&DebugConn{}).End())
	b := c.Append(nil)
	assert.Equal(t, unhex(t, "ffffffff"), b[4:8])
	got, err := ParseDebugConn(b, DebugVersion)
	require.NoError(t, err)
	assert.True(t, got.End())
	p := DebugPeerEnd()
	assert.True(t, p.End())
	assert.False(t, (&DebugPeer{}).End())
	assert.Equal(t, unhex(t, "ffffffff"), p.Append(nil)[:4])
}

func TestInterestingConnections(t *testing.T) {
	for _, c := range []struct {
		conn DebugConn
		want bool
	}{
		{DebugConn{}, false},
		{DebugConn{Flags: DebugConnMakeCallWaiting}, true},
		{DebugConn{Flags: DebugConnDestroyMe}, true},
		{DebugConn{Flags: 0xfc}, false},
		{DebugConn{State: [4]uint8{3: DebugStateActive}}, true},
		{DebugConn{State: [4]uint8{DebugStatePrecall}}, true},
		{DebugConn{State: [4]uint8{DebugStateDally, DebugStateHold, DebugStateReset}}, false},
		{DebugConn{State: [4]uint8{DebugStateDally}, Mode: [4]uint8{DebugModeSending}}, true},
		{DebugConn{State: [4]uint8{DebugStateDally}, Mode: [4]uint8{DebugModeReceiving}}, true},
		{DebugConn{State: [4]uint8{DebugStateDally}, Mode: [4]uint8{DebugModeEOF, DebugModeError}}, false},
	} {
		assert.Equal(t, c.want, c.conn.Interesting(), "%+v", c.conn)
	}
}

func TestVersionText(t *testing.T) {
	assert.Equal(t, []byte{0}, AppendVersionRequest(nil))
	for _, text := range []string{"", "linux-6.12.0 AF_RXRPC", strings.Repeat("v", 64), strings.Repeat("v", 65), strings.Repeat("v", 300)} {
		b := AppendVersion([]byte("x"), text)[1:]
		require.Len(t, b, VersionSize)
		require.Zero(t, b[64])
		got, err := ParseVersion(b)
		require.NoError(t, err)
		require.Equal(t, text[:min(len(text), 64)], got)
		require.Equal(t, make([]byte, VersionSize-len(got)), b[len(got):])
	}
	got, err := ParseVersion([]byte("a\x1b[2J\xff\x7f\tb\x00secret"))
	require.NoError(t, err)
	assert.Equal(t, "a?[2J???b", got)
	got, err = ParseVersion(bytes.Repeat([]byte("v"), 1000))
	require.NoError(t, err)
	assert.Len(t, got, VersionSize)
	_, err = ParseVersion(nil)
	require.ErrorIs(t, err, ErrTruncated)
}
