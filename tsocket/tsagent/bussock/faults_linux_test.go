package bussock_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// socketPath returns the path of a broker's socket.
func socketPath(t testing.TB) string {
	dir, err := os.MkdirTemp("", "bs")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// The broker is killed in the middle of transfers in both directions: each stream tells it once to whoever
// waits, nothing stays behind, and everything works again with the next broker.
func TestBrokerIsKilled(t *testing.T) {
	at := socketPath(t)
	b := launch(t, "broker", at, "")
	x, y := node(t, dial(t, at), nil), node(t, dial(t, at), nil)
	l, err := y.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	d, err := y.Dgram(&bussock.DgramConfig{Number: 7})
	require.NoError(t, err)
	connect := func() (a, b *tsocket.Stream) {
		accepting := l.AcceptSend(soon(t))
		for {
			a, err := x.Dial(soon(t), listenID)
			if err != nil { // nobody listens yet
				require.ErrorIs(t, err, syscall.ECONNREFUSED)
				continue
			}
			// The other end may have lost its connection to the bus and not know yet.
			reset := a.MonitorSend(soon(t))
			select {
			case <-accepting.Done():
				b, err := accepting.Result()
				require.NoError(t, err)
				reset.Cancel()
				return a, b
			case <-reset.Done():
				require.NoError(t, a.Close())
			}
		}
	}
	const streams = 8
	var all, begun sync.WaitGroup
	var ends []*tsocket.Stream
	for range streams {
		a, b := connect()
		ends = append(ends, a, b)
	}
	for i, s := range ends {
		begun.Add(1)
		all.Go(func() {
			buf := make([]byte, 10_000)
			for n := 0; ; n++ {
				var err error
				if i%2 == 0 {
					_, err = s.Writev(soon(t), buf)
				} else {
					_, err = s.Readv(soon(t), buf)
				}
				if n == 20 {
					begun.Done()
				}
				if err == nil {
					continue
				}
				assert.ErrorIs(t, err, syscall.ECONNRESET)
				assert.ErrorContains(t, err, "the connection to the bus was interrupted")
				return
			}
		})
	}
	begun.Wait()
	b.kill()
	all.Wait()
	_, _, err = d.RecvFrom(soon(t), make([]byte, 10))
	require.ErrorIs(t, err, syscall.ECONNRESET, "a datagram socket tells it too")
	for i, s := range ends {
		err := s.Monitor(soon(t))
		require.Error(t, err, i)
		require.NoError(t, s.Close())
	}
	waitFor(t, "nothing is left", func() bool { return x.Stats().Streams+y.Stats().Streams == 0 })

	launch(t, "broker", at, "")
	a, c := connect()
	_, err = a.Writev(soon(t), []byte("again"))
	require.NoError(t, err)
	read(t, c, "again")
	e, err := x.Dgram(nil)
	require.NoError(t, err)
	_, err = e.SendTo(soon(t), []byte("again"), d.LocalAddr())
	require.NoError(t, err)
	got := make([]byte, 10)
	n, from, err := d.RecvFrom(soon(t), got)
	require.NoError(t, err, "once")
	assert.Equal(t, "again", string(got[:n]))
	assert.Equal(t, e.LocalAddr(), from)
	_, _ = a.Close(), c.Close()
}

// The process at the other end is killed: whoever waits hears of it at once, and gets what had come before.
func TestPeerIsKilled(t *testing.T) {
	s := newSite(t)
	p := launch(t, "echo", s.path, "")
	n := node(t, s.dial(), nil)
	var streams []*tsocket.Stream
	for range 4 {
		c, err := n.Dial(soon(t), listenID)
		require.NoError(t, err)
		_, err = c.Writev(soon(t), []byte("hello"))
		require.NoError(t, err)
		waitFor(t, "the echo", func() bool { k, err := c.PendingBytes(); require.NoError(t, err); return k == 5 })
		streams = append(streams, c)
	}
	cred, err := streams[0].PeerCred()
	require.NoError(t, err)
	assert.Equal(t, p.cmd.Process.Pid, cred.PID)
	assert.EqualValues(t, os.Getuid(), cred.UID)
	monitor := streams[1].MonitorSend(soon(t))
	reading := make(chan error, 1)
	go func() {
		_, err := streams[2].Readv(soon(t), make([]byte, 100))
		reading <- err
	}()
	p.kill()
	require.ErrorIs(t, <-reading, syscall.ECONNRESET)
	_, err = monitor.Wait(soon(t))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorContains(t, err, "the peer is gone")
	read(t, streams[0], "hello")
	_, err = streams[0].Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	read(t, streams[1], "hello")
	for _, c := range streams {
		require.NoError(t, c.Close())
	}
	waitFor(t, "nothing is left", func() bool { st := n.Stats(); return st.Streams == 0 && st.Peers == 0 })
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// A process that is stopped stops those who write to it, and nobody else.
func TestPeerIsStopped(t *testing.T) {
	s := newSite(t)
	p := launch(t, "deaf", s.path, "")
	b := s.dial()
	n, other := node(t, b, nil), node(t, b, nil)
	var stopped []*tsocket.Request[int64]
	for range 6 {
		c, err := n.Dial(soon(t), listenID)
		require.NoError(t, err)
		defer c.Close()
		stopped = append(stopped, c.WritevSend(soon(t), make([]byte, 1<<20)))
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	d, err := n.Dgram(nil)
	require.NoError(t, err)
	for range 2000 { // datagrams do not wait
		_, err := d.SendTo(soon(t), make([]byte, 1000), bussock.Addr(1<<19, 9))
		require.NoError(t, err)
	}
	l, err := other.Listen(soon(t), dialedID, nil)
	require.NoError(t, err)
	c, err := n.Dial(soon(t), dialedID)
	require.NoError(t, err)
	defer c.Close()
	e, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer e.Close()
	want := bytes.Repeat([]byte("0123456789"), 200_000)
	writing := make(chan error, 1)
	go func() {
		_, err := c.Writev(soon(t), want)
		writing <- errors.Join(err, c.CloseWrite(soon(t)))
	}()
	got, err := io.ReadAll(tsocket.AsNetConn(e))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, <-writing)
	for _, w := range stopped {
		require.True(t, w.InProgress())
		w.Cancel()
		_, err := w.Wait(soon(t))
		require.ErrorIs(t, err, syscall.ECANCELED)
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
}
