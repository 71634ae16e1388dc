package tsocket_test

import (
	"encoding/binary"
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestPDUReader(t *testing.T) {
	t.Run("borrowed until the next read, then detached", func(t *testing.T) {
		a, b := unixPair(t)
		write(t, b, "\x00\x02ab\x00\x02cd")
		r := tsocket.NewPDUReader(a, tsocket.U16Size, 100)
		first, err := r.Next(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "\x00\x02ab", string(first))
		assert.Equal(t, len(first), cap(first), "appending to it must not overwrite the next")
		owned := r.Detach()
		clear(first)
		assert.Equal(t, "\x00\x02ab", string(owned))
		second, err := r.Next(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "\x00\x02cd", string(second))
	})
	t.Run("what was read ahead belongs to the stream", func(t *testing.T) {
		a, b := unixPair(t)
		write(t, b, "\x00\x02ab\x00\x00\x00\x03xyzplain\x00\x01!")
		_, err := tsocket.NewPDUReader(a, tsocket.U16Size, 100).Next(soon(t))
		require.NoError(t, err)
		n, err := a.PendingBytes()
		require.NoError(t, err)
		assert.Equal(t, 15, n)
		other, err := tsocket.NewPDUReader(a, tsocket.U32Size, 100).Next(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "\x00\x00\x00\x03xyz", string(other))
		assert.Equal(t, "plain", string(readAll(t, a, 5)))
		write(t, b, "more")
		assert.Equal(t, "\x00\x01!more", string(readAll(t, a, 7)), "half from there, half from the kernel")
		n, err = a.PendingBytes()
		require.NoError(t, err)
		assert.Zero(t, n)
	})
	t.Run("the end, and an error, come after what was read ahead", func(t *testing.T) {
		a, b := unixPair(t)
		write(t, b, "\x00\x01a\x00\x01b\x00")
		require.NoError(t, b.Close())
		r := tsocket.NewPDUReader(a, tsocket.U16Size, 100)
		for range 2 {
			_, err := r.Next(soon(t))
			require.NoError(t, err)
		}
		for range 2 {
			_, err := r.Next(soon(t))
			assert.ErrorIs(t, err, tsocket.ErrUnexpectedEOF)
		}
		assert.Equal(t, "\x00", string(readAll(t, a, 1)), "the rest can still be looked at")
		_, err := r.NextSend(background).Wait(soon(t))
		assert.ErrorIs(t, err, tsocket.ErrEOF)
		_, err = a.Readv(soon(t), make([]byte, 1))
		assert.ErrorIs(t, err, tsocket.ErrEOF)
	})
	t.Run("limits come before memory, and stay", func(t *testing.T) {
		for _, c := range []struct {
			name, in string
			size     tsocket.SizeFunc
		}{
			{"u32", "\xff\xff\xff\xf0", tsocket.U32Size},
			{"u16", "\x00\x63", tsocket.U16Size},
			{"negative", "x", func([]byte) (int, error) { return -1, nil }},
			{"never enough", string(make([]byte, 100)), func([]byte) (int, error) { return 0, nil }},
			{"netlink, too short", string(nlmsg(15)), tsocket.NetlinkSize},
			{"netlink, zero", string(nlmsg(0)), tsocket.NetlinkSize},
			{"netlink, too long", string(nlmsg(1<<32 - 1)), tsocket.NetlinkSize},
		} {
			a, b := unixPair(t)
			write(t, b, c.in)
			r := tsocket.NewPDUReader(a, c.size, 100)
			for range 2 {
				_, err := r.Next(soon(t))
				isErrno(t, syscall.EMSGSIZE, err, c.name)
				assert.ErrorIs(t, err, tsocket.ErrFrame, c.name)
			}
		}
		mine := errors.New("mine")
		a, b := unixPair(t)
		write(t, b, "x")
		_, err := tsocket.NewPDUReader(a, func([]byte) (int, error) { return 0, mine }, 100).Next(soon(t))
		assert.ErrorIs(t, err, mine)
	})
	t.Run("PDUs larger than the buffer", func(t *testing.T) {
		a, b := unixPair(t)
		big := make([]byte, 4+300_000)
		binary.BigEndian.PutUint32(big, 300_000)
		big[300_003] = 'x'
		sent := b.WritevSend(background, big, big, []byte("\x00\x00\x00\x01!"))
		r := tsocket.NewPDUReader(a, tsocket.U32Size, 300_004)
		for range 2 {
			got, err := r.Next(soon(t))
			require.NoError(t, err)
			assert.Equal(t, big, got)
		}
		got, err := r.Next(soon(t))
		require.NoError(t, err)
		assert.Len(t, got, 5)
		_, err = sent.Wait(soon(t))
		require.NoError(t, err)
	})
	t.Run("netlink messages", func(t *testing.T) {
		a, b := unixPair(t)
		m1, m2 := append(nlmsg(18), make([]byte, 16)...), append(nlmsg(16), make([]byte, 12)...)
		m1[16], m1[17] = 'h', 'i'
		write(t, b, string(m1)+string(m2))
		r := tsocket.NewPDUReader(a, tsocket.NetlinkSize, 1000)
		got, err := r.Next(soon(t))
		require.NoError(t, err)
		assert.Equal(t, m1, got, "with its padding")
		got, err = r.Next(soon(t))
		require.NoError(t, err)
		assert.Equal(t, m2, got)
	})
	t.Run("busy", func(t *testing.T) {
		a, _ := unixPair(t)
		r := tsocket.NewPDUReader(a, tsocket.U16Size, 100)
		n := r.NextSend(background)
		_, err := r.Next(background)
		isErrno(t, syscall.EBUSY, err)
		_, err = r.NextSend(background).Result()
		isErrno(t, syscall.EBUSY, err)
		isErrno(t, syscall.EBUSY, a.Disconnect(background))
		require.NoError(t, a.Close())
		_, err = n.Wait(soon(t))
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		_, err = r.Next(background)
		assert.ErrorIs(t, err, tsocket.ErrClosed)
	})
}

// nlmsg returns the first four bytes of a netlink message.
func nlmsg(size uint32) []byte { return binary.NativeEndian.AppendUint32(nil, size) }
