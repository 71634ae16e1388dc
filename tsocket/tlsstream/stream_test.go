package tlsstream_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// An existing stream is upgraded: what was read ahead of the handshake is part
// of it, and afterwards, where it is kept, the plain stream goes on.
func TestUpgradeAndBack(t *testing.T) {
	for name, lower := range map[string]func(t testing.TB) (a, b *tsocket.Stream){"pipe": pipe, "tcp": tcp} {
		t.Run(name, func(t *testing.T) {
			c, s := lower(t)
			keep := func(c *tlsstream.Config) *tlsstream.Config {
				k := *c
				k.KeepPlain = true
				return &k
			}
			// The client does not wait for the answer: its hello is behind
			// the command, and read ahead with it.
			lines := tsocket.NewPDUReader(s, func(b []byte) (int, error) { return strings.IndexByte(string(b), '\n') + 1, nil }, 100)
			for range 2 {
				_, err := c.Writev(soon(t), []byte("STARTTLS\n"))
				require.NoError(t, err)
				clienting := tlsstream.ClientSend(soon(t), c, keep(clientConf))
				for {
					n, err := s.PendingBytes()
					require.NoError(t, err)
					if n > 100 {
						break
					}
				}
				line, err := lines.Next(soon(t))
				require.NoError(t, err)
				require.Equal(t, "STARTTLS\n", string(line))
				b, err := tlsstream.Server(soon(t), s, keep(serverConf))
				require.NoError(t, err)
				a, err := clienting.Wait(soon(t))
				require.NoError(t, err)
				assert.Same(t, s, tlsstream.Plain(b))
				move(t, a, b, "secret")
				move(t, b, a, "answer")

				// Each says goodbye, and reads that of the other.
				a.SetHalfOpen(true)
				b.SetHalfOpen(true)
				for _, x := range [][2]*tsocket.Stream{{a, b}, {b, a}} {
					require.NoError(t, x[0].CloseWrite(soon(t)))
					_, err = x[1].Readv(soon(t), make([]byte, 1))
					require.ErrorIs(t, err, io.EOF)
				}
				require.NoError(t, a.Disconnect(soon(t)))
				require.NoError(t, b.Disconnect(soon(t)))
				move(t, c, s, "plain again")
				move(t, s, c, "and back")
				assert.Equal(t, tsocket.CancelPoisons, c.SetCancelRule(tsocket.CancelPoisons), "its rules are what they were")
			}
		})
	}
}

// Without close_notify the end is not one: somebody may have cut the rest off.
func TestTruncated(t *testing.T) {
	c, s := tcp(t)
	a, b := secure(t, c, s)
	move(t, b, a, "so far")
	require.NoError(t, tlsstream.Plain(b).Disconnect(soon(t)))
	_, err := a.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotErrorIs(t, err, io.EOF)
	require.Equal(t, syscall.EPIPE, tsocket.Errno(err))
	_, err = io.ReadAll(tsocket.AsNetConn(a))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF, "an io.Reader tells too")
}

// The other side may be any TLS, here that of package crypto/tls itself.
func TestOtherImplementation(t *testing.T) {
	c, d := net.Pipe()
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(d, serverConf.TLS)
		_, err := io.Copy(conn, conn)
		served <- errors.Join(err, conn.Close())
	}()
	a, err := tlsstream.Client(soon(t), tsocket.FromNetConn(c), clientConf)
	require.NoError(t, err)
	closeLater(t, a)
	text := strings.Repeat("echo ", 20_000)
	move(t, a, a, text)
	go func() { _ = a.CloseWrite(background) }()
	_, err = a.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-served)
}

// What is no TLS is refused with what came, not waited for.
func TestGarbage(t *testing.T) {
	for _, garbage := range []string{"GET / HTTP/1.1\r\n", "\x16\x04", "\x16\x03\x01\xff\xff", "\x16\x03\x01\x00\x04\xff\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x28"} {
		c, s := pipe(t)
		_, err := c.Writev(background, []byte(garbage))
		require.NoError(t, err)
		_, err = tlsstream.Server(soon(t), s, serverConf)
		require.Error(t, err)
		assert.Contains(t, []syscall.Errno{syscall.EIO, syscall.EMSGSIZE}, tsocket.Errno(err), err)

		_, err = s.Writev(background, []byte(garbage))
		require.NoError(t, err)
		_, err = tlsstream.Client(soon(t), c, clientConf)
		require.Error(t, err)
		assert.Contains(t, []syscall.Errno{syscall.EIO, syscall.EMSGSIZE}, tsocket.Errno(err), err)
	}
}

// A handshake that is stopped stops, and leaves the stream to its owner.
func TestHandshakeCancelled(t *testing.T) {
	c, s := pipe(t)
	r := tlsstream.ClientSend(background, c, clientConf)
	for n := 0; n == 0; n, _ = s.PendingBytes() { // until its hello is there
	}
	require.True(t, r.Cancel())
	_, err := r.Wait(soon(t))
	require.Equal(t, syscall.ECANCELED, tsocket.Errno(err), err)

	ctx, cancel := context.WithTimeout(background, time.Millisecond)
	defer cancel()
	_, err = tlsstream.Server(ctx, s, serverConf)
	require.Equal(t, syscall.ETIMEDOUT, tsocket.Errno(err), err)
	require.NoError(t, c.Close())
	_, err = tlsstream.Server(soon(t), s, serverConf)
	require.Equal(t, syscall.EPIPE, tsocket.Errno(err), err)
}

// A record that somebody has changed ends the stream, at both ends.
func TestTampered(t *testing.T) {
	c, m1 := pipe(t)
	m2, s := pipe(t)
	tampered := make(chan struct{})
	var tamper func([]byte)
	relay := func(from, to *tsocket.Stream, touch bool) {
		b := make([]byte, 64<<10)
		for {
			n, err := from.ReadSome(background, b)
			if err != nil {
				return
			}
			select {
			case <-tampered:
				if touch {
					tamper(b[:n])
				}
			default:
			}
			if _, err := to.Writev(background, b[:n]); err != nil {
				return
			}
		}
	}
	go relay(m1, m2, true)
	go relay(m2, m1, false)
	a, b := secure(t, c, s)
	move(t, a, b, "fine")
	tamper = func(b []byte) { b[len(b)-1] ^= 1 }
	close(tampered)
	_, err := a.Writev(soon(t), []byte("changed"))
	require.NoError(t, err)
	_, err = b.Readv(soon(t), make([]byte, 1))
	require.Equal(t, syscall.EIO, tsocket.Errno(err), err)
	_, err = a.Readv(soon(t), make([]byte, 1))
	require.Equal(t, syscall.EIO, tsocket.Errno(err), "the alert")
	require.ErrorContains(t, err, "bad record MAC")
	_, err = b.Writev(background, []byte("x"))
	require.Equal(t, syscall.EIO, tsocket.Errno(err), "sticky")
}

// What was enciphered when its write was cancelled arrives: the peer could
// decipher nothing after it otherwise. Then the stream goes on.
func TestCancelledWriteArrives(t *testing.T) {
	c, s := pipe(t)
	a, b := secure(t, c, s)
	a.SetCancelRule(tsocket.CancelLoses)
	big := []byte(strings.Repeat("0123456789abcdef", 32<<10))
	w := a.WritevSend(background, big)
	for n := 0; n == 0; n, _ = s.PendingBytes() { // until some of it is there
	}
	require.True(t, w.Cancel())
	n, err := w.Wait(soon(t))
	require.Equal(t, syscall.ECANCELED, tsocket.Errno(err))
	require.Positive(t, n)
	require.Less(t, n, int64(len(big)))
	got := make([]byte, n)
	_, err = b.Readv(soon(t), got) // without another write
	require.NoError(t, err)
	require.Equal(t, string(big[:n]), string(got))
	move(t, a, b, "goes on")
}

// Steady traffic allocates nothing but what crypto/tls does: one small object per
// record that it reads.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		return
	}
	c, s := pipe(t)
	a, b := secure(t, c, s)
	out, in := [][]byte{make([]byte, 16), make([]byte, 1000)}, make([]byte, 1016)
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	step := func() {
		_, err := a.Writev(ctx, out...)
		if err == nil {
			_, err = b.Readv(ctx, in)
		}
		if err != nil {
			panic(err)
		}
	}
	for range 10 {
		step()
	}
	assert.LessOrEqual(t, testing.AllocsPerRun(200, step), 1.0)
}

// Idle streams whose peers have finished writing, with everything outstanding
// that can be, cost no processor time.
func TestSpin(t *testing.T) {
	c, s := tcp(t)
	a, b := secure(t, c, s)
	for _, x := range []*tsocket.Stream{a, b} {
		x.SetHalfOpen(true)
	}
	require.NoError(t, b.CloseWrite(soon(t)))
	_, err := a.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	write := a.WritevSend(background, make([]byte, 64<<20)) // nobody reads it
	a.MonitorSend(background)
	d, e := tcp(t)
	quiet, _ := secure(t, d, e)
	read := quiet.ReadvSend(background, make([]byte, 1))
	read.Done()
	settled, cancel := context.WithTimeout(background, 200*time.Millisecond)
	defer cancel()
	_, err = write.Wait(settled)
	require.Error(t, err)

	const while = 500 * time.Millisecond
	var used time.Duration
	for range 20 { // something else of this process may cost time in one of them
		before := cpuTime(t)
		ctx, cancel := context.WithTimeout(background, while)
		_, err = read.Wait(ctx)
		cancel()
		require.ErrorIs(t, err, tsocket.ErrTimeout)
		if used = cpuTime(t) - before; used < while/5 {
			break
		}
	}
	assert.Less(t, used, while/5)
	assert.True(t, write.InProgress())
}

func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Where the plain stream is kept, Close wakes who waits all the same.
func TestCloseKept(t *testing.T) {
	c, s := pipe(t)
	keep := *clientConf
	keep.KeepPlain = true
	a, _, cerr, serr := handshake(t, c, s, &keep, serverConf)
	require.NoError(t, cerr)
	require.NoError(t, serr)
	r := a.ReadvSend(background, make([]byte, 1))
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	w := a.WritevSend(ctx, make([]byte, 1<<20))
	require.NoError(t, a.Close())
	for _, x := range []*tsocket.Request[int64]{r, w} {
		_, err := x.Wait(soon(t))
		require.ErrorIs(t, err, net.ErrClosed)
	}
	n, err := c.PendingBytes()
	require.NoError(t, err, "it is open still")
	require.Zero(t, n)
}
