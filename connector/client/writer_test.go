package client

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
)

// slowConn is a stream whose writes wait for the test, and are seen by it.
type slowConn struct {
	tsocket.StreamOps
	writes chan []byte
	result chan int // bytes taken; negative fails
}

var errBroken = errors.New("broken")

func (c *slowConn) Writev(_ context.Context, bufs [][]byte) (int64, error) {
	b := bytes.Join(bufs, nil)
	c.writes <- b
	if n := <-c.result; n < len(b) {
		return int64(max(n, 0)), errBroken
	}
	return int64(len(b)), nil
}

func newSlow(t *testing.T) (*writer, *slowConn) {
	leaks := goleak.IgnoreCurrent()
	t.Cleanup(func() { testenv.NoLeaks(t, leaks) })
	c := &slowConn{writes: make(chan []byte, 1), result: make(chan int)}
	w := &writer{}
	w.init(tsocket.NewStream(c), 1000)
	return w, c
}

func post(w *writer, seq uint32, n int) (end uint64, ok bool, err error) {
	h := sendHeader(connector.Dest{Port: 1}, 0)
	return w.send(&h, &connector.Message{ID: id1, Seq: seq, Data: make([]byte, n)}, 2, paceBatch, nil)
}

func seqs(b []byte) (all []uint32) {
	for len(b) > 0 {
		h, body, err := frame.Parse(b)
		if err != nil {
			return append(all, 0xffffffff)
		}
		m, _ := connector.ParseExact(body)
		all = append(all, m.Seq)
		b = b[h.Len:]
	}
	return all
}

func TestWhatComesDuringAWriteGoesInTheNext(t *testing.T) {
	w, c := newSlow(t)
	for i := range uint32(3) {
		_, ok, err := post(w, i, 0)
		require.True(t, ok)
		require.NoError(t, err)
		if i == 0 {
			assert.Equal(t, []uint32{0}, seqs(get(t, c.writes)))
		}
	}
	c.result <- 1000
	assert.Equal(t, []uint32{1, 2}, seqs(get(t, c.writes)))
	c.result <- 1000
	w.drain()
	_, _, _ = post(w, 3, 0)
	assert.Equal(t, []uint32{3}, seqs(get(t, c.writes)), "and again after a rest")
	c.result <- 1000
	w.drain()
}

func TestAFullBufferTakesNoPartOfAFrame(t *testing.T) {
	w, c := newSlow(t)
	var room sync.WaitGroup
	w.onRoom = room.Done
	post(w, 0, 0)
	get(t, c.writes)
	for i := range uint32(2) {
		_, ok, _ := post(w, 1+i, 400-76)
		require.True(t, ok)
	}
	_, ok, err := post(w, 3, 400-76)
	require.False(t, ok)
	require.NoError(t, err)
	_, err = w.control(frame.Header{Type: frame.Hold}, nil, paceNow)
	require.NoError(t, err, "control frames are never refused")
	w.await(1)
	room.Add(1)
	c.result <- 1000
	room.Wait()
	assert.Len(t, get(t, c.writes), 840)
	_, ok, _ = post(w, 4, 5000)
	require.True(t, ok, "an empty buffer takes any frame")
	w.await(-1)
	c.result <- 10000
	get(t, c.writes)
	c.result <- 10000
	w.drain()
}

func TestABrokenWriteTellsWhatHasNotLeft(t *testing.T) {
	for _, taken := range []struct{ bytes, whole int }{{-1, 0}, {75, 0}, {76, 1}, {151, 1}, {152, 2}} {
		w, c := newSlow(t)
		failed := make(chan struct{})
		w.onFail = func() { close(failed) }
		first, _, _ := post(w, 0, 0)
		get(t, c.writes)
		var ends []uint64
		for i := range uint32(3) {
			end, _, _ := post(w, 1+i, 0)
			ends = append(ends, end)
		}
		c.result <- 1000
		get(t, c.writes)
		end, _, _ := post(w, 4, 0)
		ends = append(ends, end)
		c.result <- taken.bytes
		w.drain()
		get(t, failed)
		assert.True(t, w.wasWritten(first))
		for i, end := range ends {
			assert.Equal(t, i < taken.whole, w.wasWritten(end), "frame %d of %d bytes taken", i, taken.bytes)
		}
		var left []uint32
		w.unsent(func(_ frame.Header, body []byte) {
			m, err := connector.ParseExact(body)
			require.NoError(t, err)
			left = append(left, m.Seq)
		})
		assert.Equal(t, []uint32{1, 2, 3, 4}[taken.whole:], left)
		_, _, err := post(w, 9, 0)
		require.ErrorIs(t, err, errBroken)
		_, err = w.control(frame.Header{}, nil, paceNow)
		require.ErrorIs(t, err, errBroken)
	}
}

// TestALoneFrameIsWrittenByItsSender: when send returns, the bytes are in the socket.
func TestALoneFrameIsWrittenByItsSender(t *testing.T) {
	f := newFake(t)
	c, err := dialPath(bg, f.path)
	require.NoError(t, err)
	defer c.Close()
	p := f.accept()
	w := &writer{}
	w.init(c, 1000)
	end, _, _ := post(w, 0, 0)
	assert.True(t, w.wasWritten(end))
	p.wantSend()
	h := sendHeader(connector.Dest{Port: 1}, 0)
	m := text(id1, "corked")
	end, _, _ = w.send(&h, &m, 1, paceCork, nil)
	assert.False(t, w.wasWritten(end))
	w.flush()
	assert.True(t, w.wasWritten(end))
	p.wantSend()
	w.drain()
}

func TestManyWritersKeepTheirOrder(t *testing.T) {
	_, e, p := start(t)
	const writers, each = 8, 3000
	var wg sync.WaitGroup
	for i := range uint32(writers) {
		wg.Go(func() {
			for k := range uint32(each) {
				assert.NoError(t, e.Post(bg, connector.Message{ID: id1, Seq: i, Ack: k, Data: make([]byte, k%300)}, connector.Dest{Port: 1}))
			}
		})
	}
	var next [writers]uint32
	for range writers * each {
		_, m := p.wantSend()
		require.Equal(t, next[m.Seq], m.Ack)
		next[m.Seq]++
	}
	wg.Wait()
}

func TestPostDoesNotAllocate(t *testing.T) {
	_, e, p := start(t)
	go p.swallow()
	data := make([]byte, 128)
	post := func() { _ = e.Post(bg, connector.Message{ID: id1, Data: data}, connector.Dest{Port: 1}) }
	for range 20000 {
		post()
	}
	assert.Zero(t, testing.AllocsPerRun(20000, post))
}

func TestRecvDoesNotAllocate(t *testing.T) {
	_, e, p := start(t)
	const n = 20000
	one := msg(frame.Header{}, connector.Message{ID: id1, Data: make([]byte, 128)})
	go func() {
		var all []byte
		for range 200 {
			all = append(all, one...)
		}
		for err := error(nil); err == nil; {
			_, err = p.c.Write(all)
		}
	}()
	recv := func() { _, _ = e.Recv(bg) }
	for range n {
		recv()
	}
	assert.Zero(t, testing.AllocsPerRun(n, recv))
}
