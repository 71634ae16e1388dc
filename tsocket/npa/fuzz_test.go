package npa_test

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

// FuzzMessages: whatever comes, a pipe in message mode reads what whole
// messages hold, in pieces of any size, and then fails.
func FuzzMessages(f *testing.F) {
	f.Add([]byte("\x03\x00abc\x01\x00d"), uint8(2))
	f.Add([]byte("\x00\x00"), uint8(1))
	f.Add([]byte("\xff\xff"), uint8(0))
	f.Fuzz(func(t *testing.T, sent []byte, piece uint8) {
		if len(sent) > 32<<10 {
			return
		}
		var want []byte
		for rest := sent; len(rest) >= 2; {
			n := int(binary.LittleEndian.Uint16(rest))
			if rest = rest[2:]; n == 0 || n > len(rest) {
				break // nothing is given of a message that was cut off
			}
			want, rest = append(want, rest[:n]...), rest[n:]
		}
		c, wire := memory(t)
		if len(sent) > 0 {
			_, err := wire.Writev(soon(t), sent)
			require.NoError(t, err)
		}
		require.NoError(t, wire.CloseWrite(soon(t)))
		a, err := npa.Wrap(c, npa.MessageMode, nil)
		require.NoError(t, err)
		var got []byte
		b := make([]byte, int(piece)+1)
		for {
			n, err := a.ReadSome(soon(t), b)
			got = append(got, b[:n]...)
			if err != nil {
				require.Contains(t, []syscall.Errno{syscall.EPIPE, syscall.EIO}, tsocket.Errno(err), err)
				break
			}
			require.Positive(t, n)
		}
		require.Equal(t, string(want), string(got))
		require.NoError(t, a.Close())
		require.NoError(t, wire.Close())
	})
}
