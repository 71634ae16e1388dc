package tsocket_test

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// copier copies what comes in at s back out, with the calls that do not wait.
type copier struct {
	s    *tsocket.Stream
	w    *tsocket.Watch
	buf  []byte
	out  []byte
	over chan error
}

func newCopier(t testing.TB, l *tsocket.Loop, s *tsocket.Stream) *copier {
	c := &copier{s: s, buf: make([]byte, 4096), over: make(chan error, 1)}
	on(t, l, func() {
		w, err := l.Watch(s, tsocket.Readable, c.ready)
		require.NoError(t, err)
		c.w = w
	})
	return c
}

func (c *copier) ready(tsocket.Ready) {
	if len(c.out) == 0 {
		n, err := c.s.TryRead(c.buf)
		if err != nil && !errors.Is(err, tsocket.ErrAgain) {
			c.over <- err
			_ = c.s.Close()
			return
		}
		c.out = c.buf[:n]
	}
	for len(c.out) > 0 {
		n, err := c.s.TryWrite(c.out)
		if errors.Is(err, tsocket.ErrAgain) {
			c.w.Want(tsocket.Writable)
			return
		}
		if err != nil {
			c.over <- err
			_ = c.s.Close()
			return
		}
		c.out = c.out[n:]
	}
	c.w.Want(tsocket.Readable)
}

func TestLoopWatch(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		for _, p := range []func(testing.TB) (a, b *tsocket.Stream){unixPair, tcpPair} {
			a, b := p(t)
			c := newCopier(t, l, b)
			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := a.Writev(soon(t), sent)
				assert.NoError(t, err)
			})
			got := make([]byte, len(sent))
			_, err := a.Readv(soon(t), got)
			require.NoError(t, err)
			wg.Wait()
			require.Equal(t, sent, got)
			require.NoError(t, a.Close())
			require.ErrorIs(t, <-c.over, io.EOF)
		}
	})
}

// A socket that is watched but not read tells once that its peer has gone, and is told of
// the bytes when somebody wants to read.
func TestLoopWatchPaused(t *testing.T) {
	onlyLinux(t)
	l, err := tsocket.NewLoop(nil)
	require.NoError(t, err)
	start(t, l)
	a, b := unixPair(t)
	calls := make(chan tsocket.Ready, 100)
	var w *tsocket.Watch
	w, err = l.Watch(b, 0, func(r tsocket.Ready) {
		select {
		case calls <- r:
		default: // once each turn, until it is stopped: the loop must not wait for the test
		}
	})
	require.NoError(t, err)
	write(t, a, "bytes")
	require.NoError(t, a.Close())
	assert.Equal(t, tsocket.Broken, <-calls)
	assertIdle(t, 200*time.Millisecond, justWait)
	assert.Empty(t, calls)
	on(t, l, func() { w.Want(tsocket.Readable) })
	assert.Equal(t, tsocket.Readable|tsocket.Broken, <-calls)
	on(t, l, func() {
		w.Stop()
		for len(calls) > 0 {
			<-calls
		}
	})
	buf := make([]byte, 10)
	n, err := b.TryRead(buf)
	require.NoError(t, err)
	assert.Equal(t, "bytes", string(buf[:n]))
	_, err = b.TryRead(buf)
	require.ErrorIs(t, err, io.EOF)
	assert.Empty(t, calls)
}

func TestLoopWatchListenerAndDgram(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		ln, err := tsocket.ListenTCP(loopback4(t), nil)
		require.NoError(t, err)
		closeLater(t, ln)
		_, err = ln.TryAccept()
		require.ErrorIs(t, err, tsocket.ErrAgain)
		accepted := make(chan *tsocket.Stream, 1)
		_, err = l.Watch(ln, tsocket.Readable, func(tsocket.Ready) {
			if s, err := ln.TryAccept(); err == nil {
				accepted <- s
			}
		})
		require.NoError(t, err)
		a, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, ln.Addr())
		require.NoError(t, err)
		closeLater(t, a, <-accepted)

		d, e := udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{})
		_, _, err = d.TryRecvFrom(make([]byte, 10))
		require.ErrorIs(t, err, tsocket.ErrAgain)
		got := make(chan string, 1)
		_, err = l.Watch(d, tsocket.Readable, func(tsocket.Ready) {
			b := make([]byte, 10)
			if n, _, err := d.TryRecvFrom(b); err == nil {
				got <- string(b[:n])
			}
		})
		require.NoError(t, err)
		_, err = e.TrySendTo([]byte("hello"), d.LocalAddr())
		require.NoError(t, err)
		assert.Equal(t, "hello", <-got)
	})
}
