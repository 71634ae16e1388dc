package connector

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

var orders = map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian, "native": binary.NativeEndian}

var anyMessage = rapid.Custom(func(t *rapid.T) Message {
	return Message{
		ID:    cbid.Make(rapid.Uint32().Draw(t, "idx"), rapid.Uint32().Draw(t, "val")),
		Seq:   rapid.Uint32().Draw(t, "seq"),
		Ack:   rapid.Uint32().Draw(t, "ack"),
		Flags: rapid.Uint16().Draw(t, "flags"),
		Data:  rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "data"),
	}
})

func counter() Message {
	return Message{ID: cbid.Make(0x123, 0x456), Seq: 0x01020304, Ack: 0xa1a2a3a4, Flags: 0xf1f2, Data: []byte("counter = 1\x00")}
}

func TestByteOrders(t *testing.T) {
	want := map[string]string{
		"little": "30000000 0300 0000 04030201 0d0c0b0a" +
			"23010000 56040000 04030201 a4a3a2a1 0c00 f2f1 636f756e746572203d203100",
		"big": "00000030 0003 0000 01020304 0a0b0c0d" +
			"00000123 00000456 01020304 a1a2a3a4 000c f1f2 636f756e746572203d203100",
	}
	for name, text := range want {
		golden, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		require.NoError(t, err)
		b, err := counter().AppendNetlink([]byte("before"), orders[name], 0x0a0b0c0d)
		require.NoError(t, err)
		assert.Equal(t, golden, b[len("before"):], name)

		h, m, n, err := ParseNetlink(golden, orders[name])
		require.NoError(t, err)
		assert.Equal(t, NlmsgHdr{Len: 48, Type: NlmsgDone, Seq: 0x01020304, PID: 0x0a0b0c0d}, h, name)
		assert.True(t, counter().Equal(m), name)
		assert.Equal(t, 48, n)
		assert.Equal(t, 48, m.Size())
	}
}

func TestNativeAgreesWithExplicitOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, port := anyMessage.Draw(t, "m"), rapid.Uint32().Draw(t, "port")
		want, err := m.AppendNetlink(nil, binary.NativeEndian, port)
		require.NoError(t, err)
		got, err := m.AppendNative(nil, port)
		require.NoError(t, err)
		require.Equal(t, want, got)
		back, err := ParseExact(got)
		require.NoError(t, err)
		require.True(t, m.Equal(back))
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage.Draw(t, "m")
		order := orders[rapid.SampledFrom([]string{"little", "big"}).Draw(t, "order")]
		b, err := m.AppendNetlink(nil, order, 7)
		require.NoError(t, err)
		_, back, n, err := ParseNetlink(b, order)
		require.NoError(t, err)
		require.True(t, m.Equal(back))
		require.Equal(t, len(b), n)
	})
}

func TestBinaryTrio(t *testing.T) {
	m := counter()
	b, err := m.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, m.Size(), cap(b), "allocated once")
	c, err := m.AppendBinary([]byte{1})
	require.NoError(t, err)
	assert.Equal(t, b, c[1:])

	var back Message
	require.NoError(t, back.UnmarshalBinary(b))
	clear(b)
	assert.True(t, m.Equal(back), "the data were copied")
	require.Error(t, back.UnmarshalBinary(b))
	assert.True(t, m.Equal(back), "refused bytes change nothing")
}

func TestTooBig(t *testing.T) {
	m := Message{ID: cbid.Proc, Data: make([]byte, MaxData)}
	b, err := m.MarshalBinary()
	require.NoError(t, err)
	assert.Len(t, b, NlmsgHdrLen+MaxPayload)
	_, err = ParseExact(b)
	require.NoError(t, err)

	m.Data = make([]byte, MaxData+1)
	before := []byte("before")
	for name, f := range map[string]func() ([]byte, error){
		"netlink": func() ([]byte, error) { return m.AppendNetlink(before, binary.BigEndian, 0) },
		"native":  func() ([]byte, error) { return m.AppendNative(before, 0) },
		"binary":  func() ([]byte, error) { return m.AppendBinary(before) },
	} {
		b, err := f()
		require.ErrorIs(t, err, ErrTooBig, name)
		require.ErrorIs(t, err, syscall.EMSGSIZE, name)
		var op *OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, cbid.Proc, op.ID)
		assert.Equal(t, before, b)
	}
	_, err = m.MarshalBinary()
	require.ErrorIs(t, err, ErrTooBig)
}

// ParseExact accepts nothing that differs from the one form of a message.
func TestParseExactRefuses(t *testing.T) {
	good, err := counter().MarshalBinary()
	require.NoError(t, err)
	for name, spoil := range map[string]func(b []byte) []byte{
		"one byte more":     func(b []byte) []byte { return append(b, 0) },
		"another behind":    func(b []byte) []byte { return append(b, b...) },
		"padding counted":   func(b []byte) []byte { native.PutUint32(b, 50); return append(b, 0, 0) },
		"nlmsg_len short":   func(b []byte) []byte { native.PutUint32(b, 47); return b },
		"nlmsg_len long":    func(b []byte) []byte { native.PutUint32(b, 49); return b },
		"nlmsg_len 0":       func(b []byte) []byte { native.PutUint32(b, 0); return b },
		"nlmsg_len max":     func(b []byte) []byte { native.PutUint32(b, 1<<32-1); return b },
		"type ERROR":        func(b []byte) []byte { native.PutUint16(b[4:], 2); return b },
		"type 16":           func(b []byte) []byte { native.PutUint16(b[4:], 16); return b },
		"flag MULTI":        func(b []byte) []byte { native.PutUint16(b[6:], 2); return b },
		"len one less":      func(b []byte) []byte { native.PutUint16(b[32:], 11); return b },
		"len one more":      func(b []byte) []byte { native.PutUint16(b[32:], 13); return b },
		"len 0, data there": func(b []byte) []byte { native.PutUint16(b[32:], 0); return b },
	} {
		_, err := ParseExact(spoil(bytes.Clone(good)))
		assert.ErrorIs(t, err, ErrProtocol, name)
	}
	big := make([]byte, NlmsgHdrLen+MaxPayload+1)
	native.PutUint32(big, uint32(len(big)))
	native.PutUint16(big[4:], NlmsgDone)
	native.PutUint16(big[32:], MaxData+1)
	_, err = ParseExact(big)
	assert.ErrorIs(t, err, ErrTooBig)
}

// Golden bytes of the kernel, see record_linux_test.go.
func TestGoldenKernelBytes(t *testing.T) {
	for name, want := range map[string]Message{
		"proc-listen": {ID: cbid.Proc, Seq: 0x1111, Ack: 0x7f000001, Data: make([]byte, 4)},
		"proc-ack":    {ID: cbid.Proc, Ack: 0x7f000002, Data: make([]byte, 40)}, // ack + 1, but seq is a counter of the CPU
		"proc-fork":   {ID: cbid.Proc, Data: make([]byte, 40)},
		"proc-exec":   {ID: cbid.Proc, Data: make([]byte, 40)},
		"proc-exit":   {ID: cbid.Proc, Data: make([]byte, 40)},
	} {
		t.Run(name, func(t *testing.T) {
			b, order := loadHex(t, name)
			h, m, n, err := ParseNetlink(b, order)
			require.NoError(t, err)
			assert.Equal(t, len(b), n)
			assert.Equal(t, h.Seq, m.Seq)
			assert.Zero(t, h.PID)
			assert.Equal(t, want.ID, m.ID)
			assert.Equal(t, want.Ack, m.Ack)
			assert.Len(t, m.Data, len(want.Data))
			if name == "proc-listen" {
				assert.Equal(t, want.Seq, m.Seq)
			}
			again, err := m.AppendNetlink(nil, order, 0)
			require.NoError(t, err)
			assert.Equal(t, b, again, "what we write is what the kernel writes")
			truncations(t, b, order)
		})
	}
}

// truncations requires every proper prefix of a message to be refused by every
// parser, without a panic.
func truncations(t *testing.T, b []byte, order binary.ByteOrder) {
	t.Helper()
	for n := range b {
		short := bytes.Clone(b[:n:n])
		_, _, next, err := ParseNetlink(short, order)
		require.ErrorIs(t, err, ErrProtocol, "%d of %d bytes", n, len(b))
		require.Zero(t, next)
		_, err = ParseExact(short)
		require.ErrorIs(t, err, ErrProtocol, "%d of %d bytes", n, len(b))
		if n >= NlmsgHdrLen {
			_, _, err = ParseCnMsg(short[NlmsgHdrLen:], order)
			require.ErrorIs(t, err, ErrProtocol, "%d of %d bytes", n, len(b))
		}
		// Also when nlmsg_len tells the truth about the truncated bytes.
		if n >= NlmsgHdrLen {
			order.PutUint32(short, uint32(n))
			_, _, _, err = ParseNetlink(short, order)
			require.ErrorIs(t, err, ErrProtocol, "%d of %d bytes", n, len(b))
		}
		count := 0
		for _, err := range Messages(short, order) {
			require.Error(t, err)
			count++
		}
		require.LessOrEqual(t, count, 1)
	}
}

func TestTruncations(t *testing.T) {
	for _, order := range orders {
		for _, m := range []Message{{}, counter(), {ID: cbid.Control, Data: make([]byte, 1)}} {
			b, err := m.AppendNetlink(nil, order, 1)
			require.NoError(t, err)
			truncations(t, b, order)
		}
	}
}

func loadHex(t testing.TB, name string) ([]byte, binary.ByteOrder) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	require.NoError(t, err)
	origin, rest, _ := strings.Cut(string(text), "\n")
	b, err := hex.DecodeString(strings.ReplaceAll(rest, "\n", ""))
	require.NoError(t, err)
	for _, name := range []string{"little", "big"} {
		if strings.Contains(origin, name+"-endian") {
			return b, orders[name]
		}
	}
	t.Fatalf("%s.hex does not name its byte order in the first line", name)
	return nil, nil
}

func TestCodecDoesNotAllocate(t *testing.T) {
	m := counter()
	buf := make([]byte, 0, 64)
	var err error
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, err = m.AppendNetlink(buf[:0], binary.BigEndian, 1) }))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, m, _, err = ParseNetlink(buf, binary.BigEndian) }))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, err = m.AppendNative(buf[:0], 1) }))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, err = m.AppendBinary(buf[:0]) }))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { m, err = ParseExact(buf) }))
	require.NoError(t, err)
	n := 0
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		for _, e := range Messages(buf, native) {
			err = errors.Join(err, e)
			n++
		}
	}))
	require.NoError(t, err)
	assert.Equal(t, 101, n)
}

func BenchmarkCodec(b *testing.B) {
	m := Message{ID: cbid.Proc, Data: make([]byte, 128)}
	buf, err := m.MarshalBinary()
	require.NoError(b, err)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = m.AppendNative(buf[:0], 1)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m, _ = ParseExact(buf)
		}
	})
}
