package frame

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

func TestFrameRoundTripAndEveryTruncation(t *testing.T) {
	h := Header{Type: Msg, Flags: 0x82, Code: 3, Port: 4, Group: 5, Tag: 6, UID: 7, GID: 8, PID: 9, Pos: 1<<63 + 10}
	b := h.Append([]byte("before"), []byte("body")...)[6:]
	got, body, err := Parse(append(b, []byte("the next frame")...))
	require.NoError(t, err)
	h.Len = uint32(len(b))
	assert.Equal(t, h, got)
	assert.Equal(t, "body", string(body))
	for i := range b {
		_, _, err := Parse(b[:i])
		require.ErrorIs(t, err, ErrShort, "%d bytes", i)
	}
}

func TestFieldsAreWhereTheProtocolSays(t *testing.T) {
	h := Header{Type: 1, Flags: 2, Code: 3, Port: 4, Group: 5, Tag: 6, UID: 7, GID: 8, PID: 9, Pos: 10}
	b := h.Append(nil, 'x')
	u32 := func(off int) uint32 { return order.Uint32(b[off:]) }
	assert.Equal(t, uint32(41), u32(0))
	assert.Equal(t, []byte{1, 2}, b[4:6])
	assert.Equal(t, uint16(3), order.Uint16(b[6:]))
	assert.Equal(t, []uint32{4, 5, 6, 7, 8, 9}, []uint32{u32(8), u32(12), u32(16), u32(20), u32(24), u32(28)})
	assert.Equal(t, uint64(10), order.Uint64(b[32:]))
}

func TestImpossibleLengthsAreRefusedAtOnce(t *testing.T) {
	for _, n := range []uint32{0, 1, HeaderLen - 1, MaxLen + 1, 1 << 31, 0xffffffff} {
		_, _, err := Parse(order.AppendUint32(nil, n))
		assert.ErrorIs(t, err, ErrLength, "%d", n)
	}
	_, _, err := Parse(order.AppendUint32(nil, MaxLen))
	assert.ErrorIs(t, err, ErrShort)
}

func TestBodies(t *testing.T) {
	id, name, err := ParseNamed(AppendNamed(nil, cbid.Make(1, 2), "cn_proc"))
	require.NoError(t, err)
	assert.Equal(t, cbid.Make(1, 2), id)
	assert.Equal(t, "cn_proc", name)
	for _, bad := range []string{"", "1234567", "12345678" + strings.Repeat("n", 32), "12345678a\x00b"} {
		_, _, err := ParseNamed([]byte(bad))
		assert.ErrorIs(t, err, ErrBody, "%q", bad)
	}

	name, err = ParseHello(AppendHello(nil, "me"))
	require.NoError(t, err)
	assert.Equal(t, "me", name)

	rects := []cbid.Rect{{Idx: cbid.Range{First: 5, Count: 1 << 30}, Val: cbid.Range{Count: 1 << 32}}}
	got, err := ParseRects(AppendRects(nil, rects))
	require.NoError(t, err)
	assert.Equal(t, rects, got)
	for _, v := range [][4]uint64{{1 << 32, 0, 0, 0}, {1, 1 << 32, 0, 0}, {0, 0, 1 << 63, 1 << 63}, {0, 1, 1, 1<<64 - 1}} {
		_, err := ParseRects(AppendU64s(nil, v[:]...))
		assert.ErrorIs(t, err, ErrBody, "%v", v)
	}
	_, err = ParseRects(make([]byte, 31))
	assert.ErrorIs(t, err, ErrBody)
}

func TestPutAndParseDoNotAllocate(t *testing.T) {
	b := Header{Type: Msg}.Append(nil, make([]byte, 128)...)
	h := Header{Len: uint32(len(b)), Type: Msg}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		h.Put(b)
		_, _, _ = Parse(b)
	}))
}

func FuzzParse(f *testing.F) {
	f.Add(Header{Type: Msg}.Append(nil, []byte("body")...))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := Parse(b)
		if err != nil {
			return
		}
		again := h.Append(nil, body...)
		require.Equal(t, b[:h.Len], again)
		_, _, _ = ParseNamed(body)
		_, _ = ParseHello(body)
		_, _, _ = ParseID(body)
		if rects, err := ParseRects(body); err == nil {
			require.Equal(t, len(body), len(AppendRects(nil, rects)))
		}
	})
}
