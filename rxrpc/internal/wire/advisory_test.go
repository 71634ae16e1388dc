package wire

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever is appended to a buffer that had other contents is what is appended to
// a new one, and every spare byte in it is zero.
func TestAdvisory_OPENAFS_SA_2015_007_EveryPacket(t *testing.T) {
	h := Header{Type: TypeAck, Flags: 0xff}
	ack := Ack{First: 1, Acks: []byte{0xff}, Trailer: AckTrailer{Words: 2}, Padding: 100}
	data := make([]byte, JumboData)
	for name, f := range map[string]func(b []byte) []byte{
		"header":  h.Append,
		"ack":     ack.Append,
		"abort":   func(b []byte) []byte { return AppendAbort(b, 0) },
		"reject":  func(b []byte) []byte { return AppendReject(b, &h, 0) },
		"version": func(b []byte) []byte { return AppendVersion(b, "v") },
		"bad":     AppendDebugBadType,
		"stats":   new(DebugStats).Append,
		"conn":    new(DebugConn).Append,
		"peer":    new(DebugPeer).Append,
		"rxstats": new(RxStats).Append,
		"jumbo": func(b []byte) []byte {
			var j Joiner
			j.Reset(b)
			require.NoError(t, j.Add(Header{}, data))
			require.NoError(t, j.Add(Header{Seq: 1, Serial: 1}, nil))
			return j.Bytes()
		},
	} {
		dirty := bytes.Repeat([]byte{0xa5}, 8192)
		assert.Equal(t, f(nil), f(dirty[:0]), name)
	}
	for _, b := range [][]byte{new(DebugStats).Append(nil), new(DebugConn).Append(nil), new(DebugPeer).Append(nil), new(RxStats).Append(nil)} {
		assert.Equal(t, make([]byte, len(b)), b)
	}
}

// A datagram never costs memory, however large the numbers in it
// (OPENAFS-SA-2018-003): see TestNoAllocations. And it never reaches behind its
// own end.
func TestAdvisory_OPENAFS_SA_2018_003_NothingBehindTheEnd(t *testing.T) {
	for _, all := range captures(t) {
		for _, b := range all[:min(len(all), 40)] {
			behind := append(bytes.Clone(b), bytes.Repeat([]byte{0xa5}, 2048)...)
			short := behind[:len(b)] // has capacity beyond
			want, wantErr := reencode(slices.Clip(bytes.Clone(b)))
			got, err := reencode(short)
			require.Equal(t, wantErr, err)
			require.Equal(t, want, got)
			require.Equal(t, AppendText(nil, b), AppendText(nil, short))
		}
	}
}
