package natsbridge

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/internal/testenv"
)

// tcpPair is both ends of a connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	b, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// TestAWriteDoesNotWait: also where the other end reads nothing. What it reads later is all, in order.
func TestAWriteDoesNotWait(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (net.Conn, net.Conn){
		"TCP":             tcpPair,
		"in this process": func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() },
	} {
		t.Run(name, func(t *testing.T) {
			defer testenv.NoLeaks(t, goleak.IgnoreCurrent())
			under, peer := pair(t)
			defer peer.Close()
			c := newNATSConn(under, func() {})
			defer c.Close()
			var want bytes.Buffer
			r := rand.New(rand.NewPCG(1, 2))
			noise := make([]byte, 1<<20)
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			for want.Len() < 16<<20 { // no socket takes as much
				at := r.IntN(len(noise) / 2)
				b := bytes.Clone(noise[at : at+r.IntN(len(noise)/2)])
				n, err := c.Write(b)
				require.NoError(t, err)
				require.Equal(t, len(b), n)
				want.Write(b)
				clear(b) // it is the caller's again
			}
			assert.Positive(t, c.waits.Load())
			got := make([]byte, want.Len())
			_, err := io.ReadFull(peer, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want.Bytes(), got))
			require.Eventually(t, func() bool { return c.waits.Load() == 0 }, 2*time.Minute, time.Millisecond)
			go func() { _, _ = c.Write([]byte("more")) }()
			_, err = io.ReadFull(peer, got[:4])
			require.NoError(t, err)
			assert.Equal(t, "more", string(got[:4]))
		})
	}
}

// TestWhatWaitsEndsWithTheConnection: and so does its goroutine.
func TestWhatWaitsEndsWithTheConnection(t *testing.T) {
	defer testenv.NoLeaks(t, goleak.IgnoreCurrent())
	under, _ := tcpPair(t)
	c := newNATSConn(under, func() {})
	for c.waits.Load() == 0 {
		_, err := c.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return c.waits.Load() == 0 }, 2*time.Minute, time.Millisecond)
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	assert.Zero(t, c.waits.Load(), "it is dropped")
}

// TestWhatTheServerSaidLastIsRead: though it has closed the connection, which who writes hears of first.
func TestWhatTheServerSaidLastIsRead(t *testing.T) {
	under, peer := tcpPair(t)
	c := newNATSConn(under, func() {})
	defer c.Close()
	_, err := peer.Write([]byte("-ERR because"))
	require.NoError(t, err)
	require.NoError(t, peer.Close())
	require.Eventually(t, func() bool {
		_, err := c.Write([]byte("PING\r\n"))
		require.NoError(t, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err != nil
	}, 2*time.Minute, time.Millisecond)
	got, _ := io.ReadAll(c)
	assert.Equal(t, "-ERR because", string(got))
}

// TestNobodyPublishesDuringADial: NATS's client holds a lock then, and a dial may take long.
func TestNobodyPublishesDuringADial(t *testing.T) {
	end, _ := net.Pipe()
	var d dialer
	connected := true
	connect := func() (net.Conn, error) {
		assert.False(t, d.enter(), "it is being connected")
		return end, nil
	}
	assert.False(t, d.enter(), "there is no connection yet")
	_, err := d.dial(connect)
	require.NoError(t, err)
	assert.False(t, d.enter(), "the client has not said that it is one")
	d.connected(func() bool { return connected })
	require.True(t, d.enter())
	_, err = d.dial(connect)
	require.ErrorIs(t, err, errBusy, "rather than let who publishes wait")
	d.leave()
	assert.False(t, d.enter())
	_, err = d.dial(connect)
	require.NoError(t, err)
	d.connected(func() bool {
		_, err := d.dial(connect) // it is lost before somebody says so
		require.NoError(t, err)
		return true
	})
	assert.False(t, d.enter(), "another one is meant")
	connected = false
	d.connected(func() bool { return connected })
	assert.False(t, d.enter())
	connected = true
	d.connected(func() bool { return connected })
	assert.True(t, d.enter())
}
