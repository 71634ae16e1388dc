package npa_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
)

// Each write is a message on the wire; the counts do not know of the header.
func TestMessagesOnTheWire(t *testing.T) {
	c, wire := memory(t)
	a, err := npa.Wrap(c, npa.MessageMode, nil)
	require.NoError(t, err)
	n, err := a.Writev(soon(t), []byte("he"), nil, []byte("llo"))
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	many := make([][]byte, 1024)
	for i := range many {
		many[i] = []byte{byte(i)}
	}
	n, err = a.Writev(soon(t), many...)
	require.NoError(t, err)
	require.EqualValues(t, 1024, n)
	got := make([]byte, 7+2+1024)
	_, err = wire.Readv(soon(t), got)
	require.NoError(t, err)
	assert.Equal(t, "\x05\x00hello\x00\x04", string(got[:9]))
	assert.Equal(t, bytes.Join(many, nil), got[9:])

	// A read may take a part of a message, whose rest is what is pending, or
	// more than one.
	_, err = wire.Writev(soon(t), []byte("\x04\x00abcd\x02\x00ef\x01\x00g"))
	require.NoError(t, err)
	pending := func(want int) {
		n, err := a.PendingBytes()
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	pending(0)
	buf := make([]byte, 1)
	_, err = a.Readv(soon(t), buf)
	require.NoError(t, err)
	pending(3)
	rest := make([]byte, 6)
	_, err = a.Readv(soon(t), rest)
	require.NoError(t, err)
	assert.Equal(t, "abcdefg", string(buf)+string(rest))
	pending(0)
}

// An empty message is an error, and so is an end inside of one.
func TestBadMessages(t *testing.T) {
	for sent, want := range map[string]struct {
		errno syscall.Errno
		is    error
	}{
		"\x00\x00":         {syscall.EIO, nil},
		"\x00\x00\x01":     {syscall.EIO, nil},
		"\x02\x00a":        {syscall.EPIPE, io.ErrUnexpectedEOF},
		"\x02":             {syscall.EPIPE, io.ErrUnexpectedEOF},
		"":                 {syscall.EPIPE, io.EOF},
		"\xff\xff\x00\x00": {syscall.EPIPE, io.ErrUnexpectedEOF},
	} {
		c, wire := memory(t)
		a, err := npa.Wrap(c, npa.MessageMode, nil)
		require.NoError(t, err)
		if sent != "" {
			_, err = wire.Writev(soon(t), []byte(sent))
			require.NoError(t, err)
		}
		require.NoError(t, wire.Disconnect(soon(t)))
		for range 2 {
			_, err = a.Readv(soon(t), make([]byte, 1))
			require.Equal(t, want.errno, tsocket.Errno(err), "%q: %v", sent, err)
			if want.is != nil {
				require.ErrorIs(t, err, want.is, "%q", sent)
			}
		}
		require.NoError(t, a.Close())
	}
	_, err := npa.Wrap(nil, 3, nil)
	require.Equal(t, syscall.EINVAL, tsocket.Errno(err))
}

// The rest of a message whose write was cancelled goes nevertheless: the next
// message begins where one begins.
func TestCancelledMessage(t *testing.T) {
	c, wire := memory(t)
	a, b := wrapped(t, c, wire, npa.MessageMode)
	a.SetCancelRule(tsocket.CancelLoses)
	const size = 60_000
	_, err := a.Writev(soon(t), bytes.Repeat([]byte("1"), size)) // the pipe holds 65536
	require.NoError(t, err)
	w := a.WritevSend(background, bytes.Repeat([]byte("2"), size))
	for n := 0; n <= size+2; n, _ = wire.PendingBytes() { // until some of it is there
	}
	require.True(t, w.Cancel())
	n, err := w.Wait(soon(t))
	require.Equal(t, syscall.ECANCELED, tsocket.Errno(err))
	require.EqualValues(t, size, n, "a message is sent or not")
	last := a.WritevSend(background, []byte("3"))
	got := make([]byte, 2*size+1)
	_, err = b.Readv(soon(t), got)
	require.NoError(t, err)
	want := bytes.Join([][]byte{bytes.Repeat([]byte("1"), size), bytes.Repeat([]byte("2"), size), []byte("3")}, nil)
	require.True(t, bytes.Equal(want, got))
	_, err = last.Wait(soon(t))
	require.NoError(t, err)
}

// What is kept outlives the pipe, in both modes; who waits does not.
func TestKeepPlain(t *testing.T) {
	for _, mode := range []npa.FileType{npa.ByteMode, npa.MessageMode} {
		c, s := memory(t)
		keep := &npa.Options{KeepPlain: true}
		a, err := npa.Wrap(c, mode, keep)
		require.NoError(t, err)
		b, err := npa.Wrap(s, mode, keep)
		require.NoError(t, err)
		for _, ctx := range []context.Context{background, soon(t), soon(t)} {
			_, err = a.Writev(ctx, []byte("in the pipe"))
			require.NoError(t, err)
			_, err = b.Readv(ctx, make([]byte, 11))
			require.NoError(t, err)
		}
		require.NoError(t, a.Disconnect(soon(t)))
		r := b.ReadvSend(background, make([]byte, 1))
		r.Done()
		require.NoError(t, b.Close())
		_, err = r.Wait(soon(t))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = c.Writev(soon(t), []byte("below it"))
		require.NoError(t, err)
		_, err = s.Readv(soon(t), make([]byte, 8))
		require.NoError(t, err)
		require.Equal(t, tsocket.CancelPoisons, c.SetCancelRule(tsocket.CancelPoisons))
	}
}

// Steady traffic allocates nothing.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		return
	}
	for _, mode := range []npa.FileType{npa.ByteMode, npa.MessageMode} {
		c, s := memory(t)
		a, b := wrapped(t, c, s, mode)
		out, in := [][]byte{make([]byte, 16), make([]byte, 1000)}, make([]byte, 1016)
		step := func() {
			_, err := a.Writev(background, out...)
			if err == nil {
				_, err = b.Readv(background, in)
			}
			if err != nil {
				panic(err)
			}
		}
		for range 200 { // until the buffers have their size
			step()
		}
		assert.Zero(t, testing.AllocsPerRun(200, step), mode)
	}
}
