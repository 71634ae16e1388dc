package tstest

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// Both directions, all faces, vectors that do not match those of the other end.
func streamTransfer(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	for range 2 {
		r := b.ReadvSend(background, make([]byte, 5))
		require.True(t, r.InProgress())
		n, err := r.Result()
		isErrno(t, tsocket.ErrInProgress.Errno(), err)
		require.Zero(t, n)

		w := a.WritevSend(background, []byte("he"), nil, []byte("llo"))
		n, err = r.Wait(soon(t))
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
		n, err = w.Wait(soon(t))
		require.NoError(t, err)
		require.EqualValues(t, 5, n)

		w = a.WritevSend(background, []byte("wor"), []byte("ld"), []byte("!"))
		v := [][]byte{{}, make([]byte, 1), nil, make([]byte, 4), make([]byte, 1), nil}
		n, err = b.Readv(soon(t), v...)
		require.NoError(t, err)
		require.EqualValues(t, 6, n)
		assert.Equal(t, "w|orld|!", string(v[1])+"|"+string(v[3])+"|"+string(v[4]))
		_, err = w.Wait(soon(t))
		require.NoError(t, err)
		a, b = b, a
	}
	k.move(t, a, b, pattern(300_000))
}

// Much data both ways at a time, in random pieces.
func streamDuplex(t *testing.T, k Streams) {
	const size = 1 << 20
	a, b := k.Pair(t)
	data := pattern(size)
	results := make(chan error, 4)
	for i, s := range []*tsocket.Stream{a, b} {
		go func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			var err error
			for left := data; len(left) > 0 && err == nil; {
				n := min(len(left), 1+random.IntN(40_000))
				_, err = s.Writev(background, left[:n/2], left[n/2:n])
				left = left[n:]
			}
			results <- err
		}()
		go func() {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			got := make([]byte, size)
			var err error
			for left := got; len(left) > 0 && err == nil; {
				n := min(len(left), 1+random.IntN(40_000))
				_, err = s.Readv(background, left[:n/3], left[n/3:n])
				left = left[n:]
			}
			assert.Equal(t, data, got)
			results <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-results)
	}
}

// As many vectors as are allowed.
func streamVectors(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	out, in := make([][]byte, 1024), make([][]byte, 1024)
	for i := range out {
		out[i], in[i] = []byte{byte(i), byte(i >> 8)}, make([]byte, 2)
	}
	w := a.WritevSend(background, out...)
	_, err := b.Readv(soon(t), in...)
	require.NoError(t, err)
	assert.Equal(t, out, in)
	n, err := w.Wait(soon(t))
	require.NoError(t, err)
	assert.EqualValues(t, 2048, n)
}

// What is written byte by byte is read at once, and the other way round.
func streamSplit(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	data := pattern(64)
	for cut := range len(data) + 1 {
		r := b.ReadvSend(background, make([]byte, cut), make([]byte, len(data)-cut))
		for i := range data {
			_, err := a.Writev(soon(t), data[i:i+1])
			require.NoError(t, err)
		}
		_, err := r.Wait(soon(t))
		require.NoError(t, err)

		w := a.WritevSend(background, data[:cut], data[cut:])
		got := make([]byte, len(data))
		for i := range got {
			_, err := b.Readv(soon(t), got[i:i+1])
			require.NoError(t, err)
		}
		require.Equal(t, data, got)
		_, err = w.Wait(soon(t))
		require.NoError(t, err)
	}
}

// ReadSome returns what is there, with either face.
func streamReadSome(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	w := a.WritevSend(background, []byte("abc"))
	var got []byte
	for len(got) < 3 {
		buf := make([]byte, 10)
		n, err := b.ReadSome(soon(t), buf)
		require.NoError(t, err)
		require.Positive(t, n)
		got = append(got, buf[:n]...)
	}
	assert.Equal(t, "abc", string(got))
	_, err := w.Wait(soon(t))
	require.NoError(t, err)

	buf := make([]byte, 10)
	r := b.ReadSomeSend(background, buf)
	isErrno(t, tsocket.ErrBusy.Errno(), last(b.ReadSome(background, make([]byte, 1))))
	w = a.WritevSend(background, []byte("d"))
	n, err := r.Wait(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "d", string(buf[:n]))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	r = b.ReadSomeSend(background, buf)
	require.True(t, r.Cancel())
	isErrno(t, tsocket.ErrCanceled.Errno(), last(r.Wait(soon(t))))
	k.move(t, a, b, []byte("nothing is lost"))
	_, err = b.ReadSome(ended(), make([]byte, 1))
	isErrno(t, tsocket.ErrCanceled.Errno(), err)
	_, err = b.ReadSome(background, nil)
	isErrno(t, tsocket.ErrInvalid.Errno(), err)
}

// Bytes that were read but not taken are pending, and the rest of what came
// with the first byte is.
func streamPending(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	n, err := b.PendingBytes()
	require.NoError(t, err)
	require.Zero(t, n)
	w := a.WritevSend(background, []byte("0123"))
	_, err = b.Readv(soon(t), make([]byte, 1))
	require.NoError(t, err)
	n, err = b.PendingBytes()
	require.NoError(t, err)
	require.Equal(t, 3, n)
	rest := make([]byte, 3)
	_, err = b.Readv(soon(t), rest)
	require.NoError(t, err)
	require.Equal(t, "123", string(rest))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	n, err = b.PendingBytes()
	require.NoError(t, err)
	require.Zero(t, n)
	if k.QuietPending {
		return
	}
	require.NoError(t, a.Close())
	await(t, "pending bytes notices the end", func() bool {
		n, err = b.PendingBytes()
		return err != nil
	})
	require.Zero(t, n)
	oneOf(t, err, tsocket.ErrEOF.Errno(), connReset)
	_, again := b.Writev(background, []byte("x"))
	isErrno(t, tsocket.Errno(err), again, "it is the error of the stream")
}

// PDUs are read many at a time, and what is too much stays in the stream.
func streamPDU(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	size := func(have []byte) (int, error) { return int(have[0]), nil }
	r := tsocket.NewPDUReader(b, size, 16)
	w := a.WritevSend(background, []byte("\x03ab\x02c\x04def"))
	for _, want := range []string{"\x03ab", "\x02c"} {
		pdu, err := r.Next(soon(t))
		require.NoError(t, err)
		require.Equal(t, want, string(pdu))
	}
	rest := make([]byte, 4)
	_, err := b.Readv(soon(t), rest)
	require.NoError(t, err)
	require.Equal(t, "\x04def", string(rest))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
}
