package npa_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

// golden returns the bytes of a file of hexadecimal lines, whose comments say
// what they are.
func golden(t testing.TB, name string) []byte {
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	require.NoError(t, err)
	return b
}

func TestGolden(t *testing.T) {
	want := npa.Request{
		Transport: 2, ClientName: "client", ClientAddr: "192.0.2.7", ClientPort: 50123,
		ServerName: "server", ServerPort: 445, SessionInfo: make([]byte, 8),
	}
	wire := golden(t, "request.hex")
	var r npa.Request
	require.NoError(t, r.UnmarshalBinary(wire))
	assert.Equal(t, want, r)
	got, err := want.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, hex.Dump(wire), hex.Dump(got))
	assert.Equal(t, len(wire)-8, r.SessionOffset())

	wire = golden(t, "reply.hex")
	var p npa.Reply
	require.NoError(t, p.UnmarshalBinary(wire))
	answer := npa.Reply{FileType: npa.MessageMode, DeviceState: 0x05ff, AllocationSize: 4096, Status: 0xC0000022}
	assert.Equal(t, answer, p)
	got, err = answer.MarshalBinary()
	require.NoError(t, err)
	assert.Equal(t, hex.Dump(wire), hex.Dump(got))
}

// Every truncation is refused, whether the length is mended or not.
func TestTruncations(t *testing.T) {
	whole := golden(t, "request.hex")
	for n := range whole {
		var r npa.Request
		require.Equal(t, syscall.EMSGSIZE, tsocket.Errno(r.UnmarshalBinary(whole[:n])), n)
		if n < 8 || n >= len(whole)-8 { // what is there of the session info is not looked at
			continue
		}
		mended := bytes.Clone(whole[:n])
		mended[2], mended[3] = 0, byte(n-4)
		require.Error(t, r.UnmarshalBinary(mended), n)
		require.Equal(t, npa.Request{}, r)
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range []npa.Request{{}, sample, {ClientName: "x"}, {SessionInfo: []byte{}}} {
		b, err := r.MarshalBinary()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add(golden(f, "request.hex"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r npa.Request
		if err := r.UnmarshalBinary(b); err != nil {
			var e *npa.Error
			require.ErrorAs(t, err, &e)
			return
		}
		again, err := r.AppendBinary([]byte("front"))
		require.NoError(t, err)
		var same npa.Request
		require.NoError(t, same.UnmarshalBinary(again[5:]))
		require.Equal(t, r, same)
	})
}

func FuzzReply(f *testing.F) {
	f.Add(golden(f, "reply.hex"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r npa.Reply
		if r.UnmarshalBinary(b) != nil {
			return
		}
		again, err := r.MarshalBinary()
		require.NoError(t, err)
		var same npa.Reply
		require.NoError(t, same.UnmarshalBinary(again))
		require.Equal(t, r, same)
	})
}

// Whatever a client says, the server neither hangs nor panics, and what it
// accepts is a pipe.
func FuzzAccept(f *testing.F) {
	b, err := sample.MarshalBinary()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte("\x00\xff\xff\xffNPAM"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if len(said) == 0 || len(said) > 32<<10 {
			return
		}
		wire, s := memory(t)
		_, err := wire.Writev(soon(t), said)
		require.NoError(t, err)
		require.NoError(t, wire.CloseWrite(soon(t)))
		pipe, r, err := npa.Accept(soon(t), s, nil)
		if err != nil {
			require.NotZero(t, tsocket.Errno(err))
			return
		}
		require.NotNil(t, r)
		require.NoError(t, pipe.Close())
	})
}
