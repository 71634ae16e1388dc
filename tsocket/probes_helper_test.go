package tsocket_test

import (
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// u32Vector is a NextVector for four bytes of length and what they announce.
type u32Vector struct {
	header, body []byte
	calls        int
}

func (v *u32Vector) next(*tsocket.Stream) ([][]byte, error) {
	v.calls++
	switch {
	case v.header == nil:
		v.header = make([]byte, 4)
		return [][]byte{v.header}, nil
	case v.body == nil:
		n := binary.BigEndian.Uint32(v.header)
		if n > 1000 {
			return nil, syscall.EMSGSIZE
		}
		if v.body = make([]byte, n); n == 0 {
			return nil, nil
		}
		return [][]byte{v.body}, nil
	}
	return nil, nil
}

// What C's helpers do: a row each. Deviations are in docs/tsocket.md.
func TestProbesReadvPDU(t *testing.T) {
	type read = func(s *tsocket.Stream, next tsocket.NextVector) (int64, error)
	for name, do := range map[string]read{
		"ReadPDU": func(s *tsocket.Stream, next tsocket.NextVector) (int64, error) { return s.ReadPDU(soon(t), next) },
		"ReadPDUSend": func(s *tsocket.Stream, next tsocket.NextVector) (int64, error) {
			return s.ReadPDUSend(background, next).Wait(soon(t))
		},
		"Queue.ReadPDUSend": func(s *tsocket.Stream, next tsocket.NextVector) (int64, error) {
			return tsocket.NewQueue("q").ReadPDUSend(background, s, next).Wait(soon(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := unixPair(t)
			write(t, b, "\x00\x00\x00\x05hello\x00\x00\x00\x01!")
			v := u32Vector{}
			n, err := do(a, v.next)
			require.NoError(t, err)
			assert.EqualValues(t, 9, n)
			assert.Equal(t, "hello", string(v.body))
			assert.Equal(t, 3, v.calls, "asked again after every list")
			v = u32Vector{}
			_, err = do(a, v.next)
			require.NoError(t, err)
			assert.Equal(t, "!", string(v.body))

			n, err = do(a, func(*tsocket.Stream) ([][]byte, error) { return nil, nil })
			assert.NoError(t, err, "nothing asked for: success with 0")
			assert.Zero(t, n)
			_, err = do(a, func(*tsocket.Stream) ([][]byte, error) { return make([][]byte, 3), nil })
			isErrno(t, syscall.EINVAL, err, "a list of nothing")
			_, err = do(a, func(*tsocket.Stream) ([][]byte, error) { return make([][]byte, 1025), nil })
			isErrno(t, syscall.EMSGSIZE, err, "too many vectors")
			mine := errors.New("mine")
			_, err = do(a, func(*tsocket.Stream) ([][]byte, error) { return nil, mine })
			assert.ErrorIs(t, err, mine)
			isErrnoOnly(t, syscall.EIO, err)

			r := a.ReadvSend(background, make([]byte, 1))
			v = u32Vector{}
			_, err = do(a, v.next)
			isErrno(t, syscall.EBUSY, err)
			require.True(t, r.Cancel())
			_, _ = r.Wait(soon(t))

			write(t, b, "\x00\x00\xff\xffrest")
			v = u32Vector{}
			n, err = do(a, v.next)
			isErrno(t, syscall.EMSGSIZE, err, "next_vector's error")
			assert.EqualValues(t, 4, n, "the header is gone, and N says so")
			assert.Equal(t, "rest", string(readAll(t, a, 4)))

			write(t, b, "\x00\x00\x00\x05")
			require.NoError(t, b.Close())
			v = u32Vector{}
			n, err = do(a, v.next)
			isErrno(t, syscall.EPIPE, err)
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF, "the end between two vectors is inside the PDU")
			assert.EqualValues(t, 4, n)
			_, err = do(a, v.next)
			isErrno(t, syscall.EPIPE, err)
		})
	}
}

func isErrnoOnly(t testing.TB, want syscall.Errno, err error) {
	t.Helper()
	assert.Equal(t, want, tsocket.Errno(err))
}

func TestProbesBlob(t *testing.T) {
	type read = func(s *tsocket.Stream, initial int, full tsocket.FullFunc, max int) ([]byte, error)
	for name, do := range map[string]read{
		"ReadBlob": func(s *tsocket.Stream, i int, f tsocket.FullFunc, max int) ([]byte, error) {
			return tsocket.ReadBlob(soon(t), s, i, f, max)
		},
		"ReadBlobSend": func(s *tsocket.Stream, i int, f tsocket.FullFunc, max int) ([]byte, error) {
			return tsocket.ReadBlobSend(background, s, i, f, max).Wait(soon(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := unixPair(t)
			write(t, b, "\x00\x00\x00\x03abc\x00\x02xy\x00\x00line\nrest")
			got, err := do(a, 4, tsocket.U32Full, 100)
			require.NoError(t, err)
			assert.Equal(t, "\x00\x00\x00\x03abc", string(got))
			got, err = do(a, 1, tsocket.U16Full, 100)
			require.NoError(t, err)
			assert.Equal(t, "\x00\x02xy", string(got))
			got, err = do(a, 2, tsocket.U16Full, 100)
			require.NoError(t, err)
			assert.Equal(t, "\x00\x00", string(got))
			line := func(blob []byte) (int, error) {
				if blob[len(blob)-1] == '\n' {
					return len(blob), nil
				}
				return 0, nil // one more byte
			}
			got, err = do(a, 1, line, 100)
			require.NoError(t, err)
			assert.Equal(t, "line\n", string(got))

			_, err = do(a, 0, line, 100)
			isErrno(t, syscall.EINVAL, err, "initial 0")
			_, err = do(a, 101, line, 100)
			isErrno(t, syscall.EMSGSIZE, err, "initial beyond the limit")
			_, err = do(a, 2, func([]byte) (int, error) { return 1, nil }, 100)
			isErrno(t, syscall.EMSGSIZE, err, "less than it has")
			_, err = do(a, 2, func([]byte) (int, error) { return -1, nil }, 100)
			isErrno(t, syscall.EMSGSIZE, err)
			_, err = do(a, 2, func([]byte) (int, error) { return 101, nil }, 100)
			isErrno(t, syscall.EMSGSIZE, err, "beyond the limit")
			_, err = do(a, 1, line, 3)
			isErrno(t, syscall.EMSGSIZE, err, "byte by byte, beyond the limit")
			mine := errors.New("mine")
			_, err = do(a, 2, func([]byte) (int, error) { return 0, mine }, 100)
			assert.ErrorIs(t, err, mine)
			assert.Equal(t, "rest", string(readAll(t, a, 4)), "all that is back in the stream")
		})
	}
	for name, do := range map[string]func(s *tsocket.Stream, max int) ([]byte, error){
		"ReadU32PDU": func(s *tsocket.Stream, max int) ([]byte, error) { return tsocket.ReadU32PDU(soon(t), s, max) },
		"ReadU32PDUSend": func(s *tsocket.Stream, max int) ([]byte, error) {
			return tsocket.ReadU32PDUSend(background, s, max).Wait(soon(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := unixPair(t)
			write(t, b, "\x00\x00\x00\x03abc")
			got, err := do(a, 3)
			require.NoError(t, err)
			assert.Equal(t, "\x00\x00\x00\x03abc", string(got))
			write(t, b, "\x00\x00\x00\x04abcd")
			_, err = do(a, 3)
			isErrno(t, syscall.EMSGSIZE, err, "more than the limit")
			readAll(t, a, 8)
			write(t, b, "\x00\x00\x00\x00")
			_, err = do(a, 3)
			isErrno(t, syscall.EMSGSIZE, err, "nothing follows")
			readAll(t, a, 4)
			write(t, b, "\xff\xff\xff\xff")
			_, err = do(a, 3)
			isErrno(t, syscall.EMSGSIZE, err)
		})
	}
	t.Run("ReadU16PDU", func(t *testing.T) {
		a, b := unixPair(t)
		write(t, b, "\x00\x01x\x00\x02yz\x00\x00")
		got, err := tsocket.ReadU16PDU(soon(t), a, 2)
		require.NoError(t, err)
		assert.Equal(t, "\x00\x01x", string(got))
		got, err = tsocket.ReadU16PDUSend(background, a, 2).Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "\x00\x02yz", string(got))
		_, err = tsocket.ReadU16PDU(soon(t), a, 2)
		isErrno(t, syscall.EMSGSIZE, err)
	})
}
