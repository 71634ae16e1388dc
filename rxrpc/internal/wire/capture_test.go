package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// captureDir has what OpenAFS 1.8.9 and Linux 6.1, 6.12 and 7.2 sent each other and
// themselves.
const captureDir = "../../../tests/interop/testdata/pcap"

// datagrams returns the UDP payloads of a capture, fragments put together.
func datagrams(t testing.TB, path string) [][]byte {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var plain io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		plain, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	r, err := pcapgo.NewReader(plain)
	require.NoError(t, err)
	defrag := ip4defrag.NewIPv4Defragmenter()
	var out [][]byte
	for {
		frame, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		require.Equal(t, ci.Length, ci.CaptureLength, "%s is cut short", path)
		p := gopacket.NewPacket(frame, r.LinkType(), gopacket.Default)
		ip, ok := p.NetworkLayer().(*layers.IPv4)
		if !ok || ip.Protocol != layers.IPProtocolUDP {
			continue
		}
		if ip, err = defrag.DefragIPv4(ip); ip == nil {
			require.NoError(t, err)
			continue
		}
		var udp layers.UDP
		require.NoError(t, udp.DecodeFromBytes(ip.Payload, gopacket.NilDecodeFeedback))
		out = append(out, udp.Payload)
	}
}

func captures(t testing.TB) map[string][][]byte {
	t.Helper()
	all := map[string][][]byte{}
	require.NoError(t, filepath.WalkDir(captureDir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(strings.TrimSuffix(path, ".gz"), ".pcap") {
			all[path] = datagrams(t, path)
		}
		return err
	}))
	require.Greater(t, len(all), 50)
	return all
}

// reencode parses a datagram all the way and makes it anew from what was parsed.
func reencode(b []byte) ([]byte, error) {
	h, body, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	out := h.Append(nil)
	switch h.Type {
	case TypeData:
		s, err := SplitData(h, body)
		if err != nil {
			return nil, err
		}
		var j Joiner
		j.Reset(nil)
		for h, body, ok := s.Next(); ok; h, body, ok = s.Next() {
			if err := j.Add(h, body); err != nil {
				return nil, err
			}
		}
		return j.Bytes(), nil
	case TypeAck:
		a, err := ParseAck(body)
		if err != nil {
			return nil, err
		}
		return a.Append(out), nil
	case TypeAbort:
		c, err := ParseAbort(body)
		if err != nil {
			return nil, err
		}
		return AppendAbort(out, c), nil
	case TypeVersion:
		text, err := ParseVersion(body)
		switch {
		case err != nil:
			return nil, err
		case h.FromClient() || len(body) == 1: // a NAT keepalive has no client bit
			return AppendVersionRequest(out), nil
		}
		return AppendVersion(out, text), nil
	case TypeDebug:
		return reencodeDebug(out, &h, body)
	}
	return append(out, body...), nil // opaque
}

func reencodeDebug(out []byte, h *Header, body []byte) ([]byte, error) {
	if h.FromClient() {
		r, err := ParseDebugRequest(body)
		return r.Append(out), err
	}
	switch len(body) {
	case DebugRequestSize:
		if IsDebugBadType(body) {
			return AppendDebugBadType(out), nil
		}
	case DebugStatsSize:
		s, err := ParseDebugStats(body)
		return s.Append(out), err
	case DebugConnSize:
		c, err := ParseDebugConn(body, DebugVersion)
		return c.Append(out), err
	case DebugPeerSize:
		p, err := ParseDebugPeer(body)
		return p.Append(out), err
	case RxStatsSize:
		s, err := ParseRxStats(body)
		return s.Append(out), err
	}
	return nil, ErrMalformed
}

// Every datagram that OpenAFS and Linux sent is understood to its last byte.
func TestCapturesRoundTrip(t *testing.T) {
	types := map[PacketType]int{}
	jumbos, padded := 0, 0
	for path, all := range captures(t) {
		assert.NotEmpty(t, all, path)
		for i, b := range all {
			h, body, err := ParseHeader(b)
			require.NoError(t, err)
			got, err := reencode(b)
			require.NoError(t, err, "%s, datagram %d: %s", path, i+1, AppendText(nil, b))
			require.Equal(t, b, got, "%s, datagram %d: %s", path, i+1, AppendText(nil, b))
			types[h.Type]++
			if h.Type == TypeData && h.Flags.Has(JumboPacket) {
				jumbos++
			}
			if a, err := ParseAck(body); err == nil && h.Type == TypeAck && a.Padding > 0 {
				padded++
			}
		}
	}
	for _, want := range []PacketType{
		TypeData, TypeAck, TypeBusy, TypeAbort, TypeChallenge, TypeResponse, TypeDebug, TypeVersion,
	} {
		assert.NotZero(t, types[want], "%v: none in the captures", want)
	}
	assert.NotZero(t, jumbos, "no jumbo datagram in the captures")
	assert.NotZero(t, padded, "no padded PING in the captures")
}

// Peers that follow the protocol are let in by the screening: what it turns away
// in the captures is what is meant to be.
func TestCapturesAreScreened(t *testing.T) {
	turned := map[string]int{}
	for path, all := range captures(t) {
		for i, b := range all {
			h, _, s := Screen(b)
			if s.Verdict == Accept {
				continue
			}
			require.Equal(t, Discard, s.Verdict, "%s, datagram %d: %s: %v", path, i+1, AppendText(nil, b), s)
			require.Contains(t, []PacketType{TypeVersion, TypeDebug}, h.Type, "%s, datagram %d: %v", path, i+1, s)
			turned[s.Why]++
		}
	}
	assert.Contains(t, turned, "VERSION that is no request", "keepalives and replies")
	assert.Contains(t, turned, "DEBUG that is no request", "replies")
	assert.Len(t, turned, 2)
}

func TestCapturesTruncated(t *testing.T) {
	for _, all := range captures(t) {
		seen := map[[2]int]bool{}
		for _, b := range all {
			k := [2]int{int(b[20]), len(b) >> 6}
			if seen[k] {
				continue // one of each shape
			}
			seen[k] = true
			for n := range len(b) {
				cut := b[:n:n]
				_, _, s := Screen(cut)
				if n < HeaderSize {
					require.Equal(t, Discard, s.Verdict)
				}
				got, err := reencode(cut)
				if err == nil {
					require.GreaterOrEqual(t, len(got), min(n, HeaderSize))
				} else {
					require.True(t, errors.Is(err, ErrTruncated) || errors.Is(err, ErrMalformed), "%v", err)
				}
				require.NotContains(t, string(AppendText(nil, cut)), "\n")
			}
		}
	}
}

func TestCapturedDebug(t *testing.T) {
	var stats []DebugStats
	var rx []RxStats
	var conns []DebugConn
	var peers []DebugPeer
	for _, b := range datagrams(t, captureDir+"/openafs/rxdebug-stats.pcap") {
		h, body, err := ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, TypeDebug, h.Type)
		require.Equal(t, ToolEpoch, h.Epoch)
		if h.FromClient() {
			require.Equal(t, ToolRequest(TypeDebug, uint32(h.Call)), h)
			continue
		}
		require.Equal(t, LastPacket, h.Flags)
		switch len(body) {
		case DebugStatsSize:
			s, err := ParseDebugStats(body)
			require.NoError(t, err)
			stats = append(stats, s)
		case RxStatsSize:
			s, err := ParseRxStats(body)
			require.NoError(t, err)
			rx = append(rx, s)
		case DebugConnSize:
			c, err := ParseDebugConn(body, DebugVersion)
			require.NoError(t, err)
			conns = append(conns, c)
		case DebugPeerSize:
			p, err := ParseDebugPeer(body)
			require.NoError(t, err)
			peers = append(peers, p)
		}
	}
	// What rxdebug printed of them.
	require.Len(t, stats, 3)
	assert.Equal(t, DebugStats{FreePackets: 354, CallsExecuted: 39, UsedFDs: 10, Version: 'S', IdleThreads: 16, Packets: 907}, stats[0])
	require.Len(t, rx, 1)
	r := rx[0]
	assert.EqualValues(t, 79, r.PacketRequests)
	assert.Equal(t, [PacketTypes]uint32{40, 29, 0, 0, 0, 0, 0, 2}, r.PacketsRead)
	assert.Equal(t, [PacketTypes]uint32{29, 0, 0, 10}, r.PacketsSent)
	assert.EqualValues(t, []uint32{39, 29, 29}, []uint32{r.DataPacketsRead, r.AckPacketsRead, r.DataPacketsSent})
	assert.EqualValues(t, []uint32{22, 0, 22, 22, 0}, []uint32{r.ServerConns, r.ClientConns, r.PeerStructs, r.CallStructs, r.FreeCallStructs})
	require.Len(t, peers, 23)
	assert.Equal(t, [4]byte{127, 0, 0, 1}, peers[0].Host)
	assert.EqualValues(t, []uint32{7000, 1444, 1444, 1444, 1}, []uint32{
		uint32(peers[0].Port), uint32(peers[0].IfMTU), uint32(peers[0].NatMTU), uint32(peers[0].MaxMTU), peers[0].Sent,
	})
	assert.EqualValues(t, 101, peers[0].BytesReceived)
	assert.EqualValues(t, 24000, peers[0].RTT)
	assert.True(t, peers[22].End())
	require.Len(t, conns, 23)
	assert.True(t, conns[22].End())
	for _, c := range conns[:22] {
		assert.EqualValues(t, DebugServer, c.Type)
	}
	c := conns[0]
	assert.EqualValues(t, 36888, c.Port)
	assert.Equal(t, Epoch(0xadf79522), c.Epoch)
	assert.Equal(t, CID(0xb1d89770), c.CID)
	assert.Equal(t, Serial(1), c.Serial)
	assert.EqualValues(t, 1444, c.NatMTU)
	assert.Equal(t, [Channels]CallNumber{1}, c.Call)
	assert.Equal(t, [Channels]uint8{DebugStateDally}, c.State)
	assert.Equal(t, [Channels]uint8{DebugModeEOF}, c.Mode)
	assert.EqualValues(t, DebugReceiveDone, c.CallFlags[0])
	assert.False(t, c.Interesting())
}

func TestCapturedVersion(t *testing.T) {
	all := datagrams(t, captureDir+"/openafs/rxdebug-version.pcap")
	require.Len(t, all, 2)
	assert.Equal(t, "VERSION 000003e7/00000000.0 call 101 serial 0 CLIENT|LAST none service 0: 1 bytes", string(AppendText(nil, all[0])))
	_, body, s := Screen(all[1])
	assert.Equal(t, "VERSION that is no request", s.Why)
	text, err := ParseVersion(body)
	require.NoError(t, err)
	assert.Equal(t, "OpenAFS 1.8.9-1+deb12u1-debian 2024-12-25", text)
	assert.True(t, bytes.HasSuffix(AppendText(nil, all[1]), []byte(`"OpenAFS 1.8.9-1+deb12u1-debian 2024-12-25"`)))
}
