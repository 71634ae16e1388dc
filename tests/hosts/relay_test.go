//go:build linux

package hosts

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A relay is a bad network for TCP: what arrives at its address goes on to a target, later.
//
// Loss on the way is nothing that a program with a TCP connection sees, but as time: the kernel's sender repeats a lost segment
// when no acknowledgement of it has come for the retransmission timeout, which is 200 ms at least in Linux (and doubles with each
// further loss of the same segment, RFC 6298 section 5.5), and the receiver's kernel keeps back all that came behind it. So a relay that
// loses holds up a segment so long, and the stream behind it. What the kernel makes good sooner, by the duplicate acknowledgements of a
// busy stream, the relay does not: it is the worse network. A connection that has lost too much is reset; see reset.
type relay struct {
	l      *net.TCPListener
	target string
	delay  time.Duration // each way
	loss   float64       // of segments
	lost   atomic.Int64

	wg    sync.WaitGroup
	mu    sync.Mutex // guards the two below
	conns map[*net.TCPConn]struct{}
	seed  uint64 // of the next connection
	ended bool
}

const (
	segment    = 1448 // bytes, on an Ethernet
	retransmit = 200 * time.Millisecond
	underWay   = 1024 // segments, before the sender must wait
)

// startRelay starts one that ends with the test.
func startRelay(t testing.TB, at, target string, delay time.Duration, loss float64) *relay {
	addr, err := net.ResolveTCPAddr("tcp", at)
	require.NoError(t, err)
	l, err := net.ListenTCP("tcp", addr)
	require.NoError(t, err)
	r := &relay{l: l, target: target, delay: delay, loss: loss, conns: make(map[*net.TCPConn]struct{}), seed: 1}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		r.mu.Lock()
		r.ended = true
		r.mu.Unlock()
		_ = l.Close()
		r.reset()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

// reset ends all connections that there are, as a network does that has lost too much.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		end(c)
	}
}

func (r *relay) accept() {
	for {
		c, err := r.l.AcceptTCP()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(c) })
	}
}

// own has reset end c. It returns false, and closes it, when the relay has ended.
func (r *relay) own(c *net.TCPConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		_ = c.Close()
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *relay) serve(c *net.TCPConn) {
	far, err := net.DialTimeout("tcp", r.target, patience)
	if err != nil {
		end(c)
		return
	}
	d := far.(*net.TCPConn)
	ok := r.own(c)
	ok = r.own(d) && ok
	if ok {
		var both sync.WaitGroup
		r.mu.Lock()
		seed := r.seed
		r.seed += 2
		r.mu.Unlock()
		both.Go(func() { r.pass(c, d, seed) })
		both.Go(func() { r.pass(d, c, seed+1) })
		both.Wait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range []*net.TCPConn{c, d} {
		_ = c.Close()
		delete(r.conns, c)
	}
}

// onTheWay is a segment that arrives at a time.
type onTheWay struct {
	at   time.Time
	data []byte
}

// pass moves what comes from one side to the other, until one of them ends.
func (r *relay) pass(from, to *net.TCPConn, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	way := make(chan onTheWay, underWay)
	var wg sync.WaitGroup
	var whole atomic.Bool // it came to an end, and was not reset
	wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for s := range way {
			if d := time.Until(s.at); d > 0 {
				timer.Reset(d)
				<-timer.C
			}
			if _, err := to.Write(s.data); err != nil {
				end(from) // whoever sends is told
			}
		}
		if whole.Load() {
			_ = to.CloseWrite()
		} else {
			end(to)
		}
	})
	var last time.Time
	buf := make([]byte, segment)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			at := time.Now().Add(r.delay)
			for again := retransmit; rng.Float64() < r.loss; again *= 2 {
				at = at.Add(again)
				r.lost.Add(1)
			}
			if at.Before(last) {
				at = last // it waits for what was lost before it
			}
			last = at
			way <- onTheWay{at, bytes.Clone(buf[:n])}
		}
		if err != nil {
			whole.Store(errors.Is(err, io.EOF))
			break
		}
	}
	close(way)
	wg.Wait()
}

// end resets c.
func end(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// TestRelay: what goes through a bad network is what was sent, and a reset is seen by both ends.
func TestRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	echoed := make(chan error, 2)
	go func() {
		for range 2 {
			c, err := l.Accept()
			if err == nil {
				_, err = io.Copy(c, c)
				c.Close()
			}
			echoed <- err
		}
	}()
	r := startRelay(t, "127.0.0.1:0", l.Addr().String(), time.Millisecond, 0.05)
	c, err := net.Dial("tcp", r.addr())
	require.NoError(t, err)
	defer c.Close()
	sent := make([]byte, 40*segment)
	for i := range sent {
		sent[i] = byte(i * 7919 >> 3)
	}
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(sent, got))
	assert.NotZero(t, r.lost.Load())
	require.NoError(t, <-echoed)

	c, err = net.Dial("tcp", r.addr())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, 1))
	require.NoError(t, err)
	r.reset()
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
	require.Error(t, <-echoed)
}
