package wire

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The ACK of section 11.1: all received, reason IDLE.
const idleAck = "0000 0000 00000002 00000001 00000001 09 00 | 000000 | 0000fe88 000005a4 000000ff 00000000"

func TestAckOfIdleReceiver(t *testing.T) {
	b := unhex(t, idleAck)
	a, err := ParseAck(b)
	require.NoError(t, err)
	assert.Equal(t, Ack{
		First: 2, Previous: 1, Serial: 1, Reason: AckIdle, Acks: []byte{},
		Trailer: AckTrailer{MaxMTU: 65160, IfMTU: 1444, RWind: 255, Words: 4},
	}, a)
	assert.Equal(t, Seq(1), a.HardAcked())
	assert.Equal(t, b, a.Append(nil))
	assert.Len(t, b, a.Size())
}

func drawAck(t *rapid.T) Ack {
	u32 := rapid.Uint32()
	a := Ack{
		BufferSpace: rapid.Uint16().Draw(t, "bufferSpace"), MaxSkew: rapid.Uint16().Draw(t, "maxSkew"),
		First: Seq(u32.Draw(t, "first")), Previous: Seq(u32.Draw(t, "previous")), Serial: Serial(u32.Draw(t, "serial")),
		Reason:  AckReason(rapid.Byte().Draw(t, "reason")),
		Acks:    rapid.SliceOfN(rapid.ByteRange(0, 1), 0, MaxSoftAcks).Draw(t, "acks"),
		Trailer: AckTrailer{Words: rapid.IntRange(0, 4).Draw(t, "words")},
	}
	for i, f := range a.Trailer.fields() {
		if i < a.Trailer.Words {
			*f = u32.Draw(t, "word")
		}
	}
	if a.Trailer.Words == 4 {
		a.Padding = rapid.IntRange(0, 9000).Draw(t, "padding")
	}
	return a
}

func TestAckRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAck(t)
		b := a.Append([]byte{0xee})[1:]
		require.Len(t, b, a.Size())
		got, err := ParseAck(b)
		require.NoError(t, err)
		require.Equal(t, a, got)
	})
}

// Every length of a body is either too short or says how much of the trailer
// there was.
func TestAckTruncated(t *testing.T) {
	whole := Ack{
		First: 7, Acks: []byte{1, 0, 1}, Reason: AckDelay,
		Trailer: AckTrailer{MaxMTU: 1, IfMTU: 2, RWind: 3, JumboMax: 4, Words: 4},
	}
	b := whole.Append(nil)
	for n := range len(b) + 1 {
		a, err := ParseAck(b[:n:n])
		switch {
		case n < AckFixedSize:
			require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
		case n < AckFixedSize+3:
			require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
		default:
			require.NoError(t, err, "%d bytes", n)
			words := max(n-AckFixedSize-3-3, 0) / 4
			require.Equal(t, words, a.Trailer.Words, "%d bytes", n)
			for i, f := range a.Trailer.fields() {
				want := uint32(0)
				if i < words {
					want = uint32(i + 1)
				}
				require.Equal(t, want, *f, "%d bytes, word %d", n, i)
			}
			require.Equal(t, whole.Acks, a.Acks)
		}
	}
}

func TestAckBelievesNoCount(t *testing.T) {
	b := unhex(t, idleAck)
	b[17] = 255
	_, err := ParseAck(b)
	require.ErrorIs(t, err, ErrMalformed)
	b[17] = byte(len(b) - AckFixedSize)
	a, err := ParseAck(b)
	require.NoError(t, err)
	assert.Len(t, a.Acks, len(b)-AckFixedSize)
	assert.Equal(t, len(a.Acks), cap(a.Acks), "no view of what lies behind")
	assert.Zero(t, a.Trailer.Words)
}

// Nothing of our memory is in padding, even if the buffer had other contents
// before.
func TestAdvisory_OPENAFS_SA_2015_007_AckPadding(t *testing.T) {
	dirty := bytes.Repeat([]byte{0xa5}, 4096)[:0]
	a := Ack{First: 1, Reason: AckPing, Acks: []byte{0xff, 0xfe}, Trailer: AckTrailer{Words: 4}, Padding: 3000}
	b := a.Append(dirty)
	assert.Equal(t, make([]byte, 3), b[20:23])
	assert.Equal(t, make([]byte, 3016), b[23:])
	assert.Equal(t, []byte{1, 0}, b[18:20], "bit 0 alone is sent")
}

func TestAckAppendsAtMost255SoftAcks(t *testing.T) {
	a := Ack{First: 1, Acks: bytes.Repeat([]byte{1}, 300)}
	b := a.Append(nil)
	got, err := ParseAck(b)
	require.NoError(t, err)
	assert.Len(t, got.Acks, 255)
	assert.Len(t, b, a.Size())
}

func TestAckMissing(t *testing.T) {
	assert.Zero(t, (&Ack{}).Missing())
	assert.Equal(t, 2, (&Ack{Acks: []byte{1, 0, 0xff, 0xfe}}).Missing())
}

func TestClampTrailer(t *testing.T) {
	const most = 65535 - HeaderSize
	for _, c := range []struct {
		name string
		t    AckTrailer
		want Limits
	}{
		{"none of it", AckTrailer{}, Limits{1444, 1444, 15, 1, false}},
		{"what is not there does not count", AckTrailer{1, 2, 3, 4, 0}, Limits{1444, 1444, 15, 1, false}},
		{"two words", AckTrailer{MaxMTU: 1400, IfMTU: 1300, Words: 2}, Limits{1400, 1300, 15, 1, false}},
		{"three words", AckTrailer{1400, 1300, 32, 9, 3}, Limits{1400, 1300, 32, 1, false}},
		{"OpenAFS", AckTrailer{5692, 1444, 32, 4, 4}, Limits{5692, 1444, 32, 4, false}},
		{"Linux probes the path", AckTrailer{65160, 1444, 255, 0, 4}, Limits{65160, 1444, 255, 46, true}},
		{"zeros", AckTrailer{Words: 4}, Limits{500, 500, 1, 46, true}},
		{"absurd", AckTrailer{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), 4}, Limits{most, most, 255, 46, false}},
		{"signs", AckTrailer{1 << 31, 1 << 31, 1 << 31, 1 << 31, 4}, Limits{most, most, 255, 46, false}},
	} {
		assert.Equal(t, c.want, ClampTrailer(c.t), c.name)
	}
	assert.Equal(t, Limits{1, 1, 1, 1, false}, AckTrailer{Words: 3}.Clamp(Bounds{}), "bounds of nothing")
}

// No trailer gets absurd numbers past the clamps.
func TestAdvisory_OPENAFS_SA_2017_001_Trailer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAck(t)
		b := DefaultBounds
		l := a.Trailer.Clamp(b)
		for _, v := range []uint32{l.MaxMTU, l.IfMTU} {
			require.True(t, v >= b.MinMTU && v <= b.MaxMTU, "%v", l)
		}
		require.True(t, l.Window >= 1 && l.Window <= 255 && l.Jumbo >= 1 && l.Jumbo <= MaxJumbo, "%v", l)
	})
}

func TestAckView(t *testing.T) {
	a := Ack{First: 1, Acks: []byte{1, 1}}
	b := a.Append(nil)
	got, err := ParseAck(b)
	require.NoError(t, err)
	b[AckFixedSize] = 0
	assert.True(t, slices.Equal([]byte{0, 1}, got.Acks))
}
