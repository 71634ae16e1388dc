package tsocket_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// allowed are the errors that operations may have which disturb each other.
var allowed = map[syscall.Errno]bool{
	0: true, syscall.EBUSY: true, syscall.ECANCELED: true, syscall.ETIMEDOUT: true, syscall.ECONNABORTED: true,
	syscall.ENOTCONN: true, syscall.EPIPE: true, syscall.ECONNRESET: true, syscall.EALREADY: true,
}

// TestChaos lets reads, writes, cancels, monitors, disconnects and closes of
// one stream race with each other: everything ends, once, with an error that it may have.
func TestChaos(t *testing.T) {
	eachPair(t, "", func(t *testing.T, pair makePair) {
		for round := range 30 {
			a, b := pair(t)
			for _, s := range []*tsocket.Stream{a, b} {
				s.SetTryFirst(round%2 == 0)
				s.SetHalfOpen(round%3 == 0)
				s.SetCancelRule(tsocket.CancelRule(round % 3))
			}
			var wg sync.WaitGroup
			start := make(chan struct{})
			run := func(fn func(s *tsocket.Stream, r *rand.Rand) error) {
				for i, s := range []*tsocket.Stream{a, b} {
					r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
					wg.Go(func() {
						<-start
						for range 50 {
							if err := fn(s, r); !allowed[tsocket.Errno(err)] {
								assert.NoError(t, err)
							}
						}
					})
				}
			}
			sized := func(r *rand.Rand) []byte { return make([]byte, 1+r.IntN(1<<(1+r.IntN(17)))) }
			run(func(s *tsocket.Stream, r *rand.Rand) error {
				ctx, stop := ctxAfter(time.Duration(r.IntN(300)) * time.Microsecond)
				defer stop()
				_, err := s.Readv(ctx, sized(r))
				return err
			})
			run(func(s *tsocket.Stream, r *rand.Rand) error {
				ctx, stop := ctxAfter(time.Duration(r.IntN(300)) * time.Microsecond)
				defer stop()
				_, err := s.Writev(ctx, sized(r))
				return err
			})
			run(func(s *tsocket.Stream, r *rand.Rand) error {
				req := s.ReadvSend(background, sized(r))
				called := make(chan struct{})
				if r.IntN(2) == 0 {
					req.OnDone(func(*tsocket.Request[int64]) { close(called) })
				} else {
					close(called)
				}
				if r.IntN(2) == 0 {
					_, _ = req.Wait(cancelled())
				}
				if req.SetDeadline(time.Now().Add(time.Duration(r.IntN(500)) * time.Microsecond)); r.IntN(2) == 0 {
					req.Cancel()
				}
				_, err := req.Wait(soon(t))
				<-called
				return err
			})
			run(func(s *tsocket.Stream, r *rand.Rand) error {
				req := s.WritevSend(background, sized(r))
				if r.IntN(2) == 0 {
					req.Cancel()
				}
				req.SetDeadline(time.Now().Add(time.Duration(r.IntN(500)) * time.Microsecond))
				_, err := req.Wait(soon(t))
				return err
			})
			run(func(s *tsocket.Stream, r *rand.Rand) error {
				m := s.MonitorSend(background)
				_, _ = s.PendingBytes()
				m.Cancel()
				_, err := m.Wait(soon(t))
				return err
			})
			wg.Go(func() {
				<-start
				r := rand.New(rand.NewPCG(uint64(round), 99))
				ctx, stop := ctxAfter(time.Duration(r.IntN(5000)) * time.Microsecond)
				defer stop()
				_ = tsocket.NewStream(newHeld()).Monitor(ctx) // a pause
				switch round % 4 {
				case 0:
					_ = a.CloseWrite(background)
				case 1:
					_ = a.Disconnect(background)
				}
				assert.NoError(t, a.Close())
				_ = b.Disconnect(background)
				assert.NoError(t, b.Close())
			})
			close(start)
			wg.Wait()
		}
	})
}

// TestChaosDgram does the same to datagram sockets.
func TestChaosDgram(t *testing.T) {
	for round := range 30 {
		d, err := tsocket.UDP(loopback4(t), tsocket.Addr{})
		require.NoError(t, err)
		to := d.LocalAddr()
		if round%2 == 0 {
			d.EnableGRO()
		}
		var wg sync.WaitGroup
		run := func(fn func(ctx context.Context) error) {
			wg.Go(func() {
				for i := range 100 {
					ctx, stop := ctxAfter(time.Duration(i%7) * 20 * time.Microsecond)
					err := fn(ctx)
					stop()
					if !allowed[tsocket.Errno(err)] {
						assert.NoError(t, err)
					}
				}
			})
		}
		msgs := make([]tsocket.Message, 20)
		for i := range msgs {
			msgs[i] = tsocket.Message{Data: []byte("data"), Addr: to}
		}
		run(func(ctx context.Context) error { _, _, err := d.RecvFrom(ctx, make([]byte, 100)); return err })
		run(func(ctx context.Context) error { _, err := d.RecvBatch(ctx, make([]tsocket.Message, 10)); return err })
		run(func(ctx context.Context) error {
			r := d.RecvFromSend(ctx)
			r.Cancel()
			_, err := r.Wait(soon(t))
			return err
		})
		run(func(ctx context.Context) error { _, err := d.SendTo(ctx, []byte("data"), to); return err })
		run(func(ctx context.Context) error { _, err := d.SendBatch(ctx, msgs); return err })
		run(func(ctx context.Context) error {
			_, err := d.SendToSend(ctx, []byte("x"), to).Wait(soon(t))
			return err
		})
		if round%3 == 0 {
			run(func(ctx context.Context) error { return d.Disconnect(ctx) })
		}
		if round%3 == 1 {
			run(func(context.Context) error { return d.Close() })
		}
		wg.Wait()
		require.NoError(t, d.Close())
	}
}

// TestTenThousand opens and drops many connections: no descriptor, no goroutine
// (TestMain looks) and no registration stays behind.
func TestTenThousand(t *testing.T) {
	count := 10_000
	if raceEnabled {
		count = 1000
	}
	before := openFiles(t)
	for _, at := range []tsocket.Addr{socketPath(t, "s"), loopback4(t)} {
		var l *tsocket.Listener
		var err error
		if at.IsUnix() {
			l, err = tsocket.ListenUnix(at, nil)
		} else {
			l, err = tsocket.ListenTCP(at, nil)
		}
		require.NoError(t, err)
		served := make(chan int)
		go func() {
			n := 0
			defer func() { served <- n }()
			for ; ; n++ {
				s, err := l.Accept(background)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if !assert.NoError(t, err) {
					return
				}
				r := s.ReadvSend(background, make([]byte, 1))
				if n%3 == 0 {
					s.MonitorSend(background)
				}
				r.OnDone(func(*tsocket.Request[int64]) { _ = s.Close() })
			}
		}()
		for i := range count {
			var s *tsocket.Stream
			if at.IsUnix() {
				s, err = tsocket.DialUnix(background, tsocket.Addr{}, l.Addr())
				for errors.Is(err, syscall.EAGAIN) { // the backlog is full: the listener has its turn first
					runtime.Gosched()
					s, err = tsocket.DialUnix(background, tsocket.Addr{}, l.Addr())
				}
			} else {
				s, err = tsocket.DialTCP(background, tsocket.Addr{}, l.Addr())
			}
			require.NoError(t, err)
			if i%2 == 0 {
				s.ReadvSend(background, make([]byte, 1)) // dropped with it
			}
			require.NoError(t, s.SyscallFD(func(fd int) error { return setNoLinger(fd) }))
			require.NoError(t, s.Close())
		}
		require.NoError(t, l.Close())
		assert.LessOrEqual(t, <-served, count)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for openFiles(t) > before+4 && time.Now().Before(deadline) {
		_, _ = tsocket.NewStream(newHeld()).ReadSome(shortly(t), make([]byte, 1)) // a pause
	}
	assert.LessOrEqual(t, openFiles(t), before+4)
}

func shortly(t testing.TB) context.Context { return shortlyFor(t, 10*time.Millisecond) }

func shortlyFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := ctxAfter(d)
	t.Cleanup(cancel)
	return ctx
}

// TestCancelledConnect: a connection that is given up leaves no descriptor.
func TestCancelledConnect(t *testing.T) {
	before := openFiles(t)
	// A listener whose queue is full answers nobody: the connection stays in the air.
	l, err := tsocket.ListenTCP(loopback4(t), &tsocket.ListenConfig{Backlog: 1})
	require.NoError(t, err)
	var stuck []*tsocket.Request[*tsocket.Stream]
	for len(stuck) < 6 { // two of which may be slow, and not stuck
		r := tsocket.DialTCPSend(background, tsocket.Addr{}, l.Addr())
		_, err := r.Wait(shortly(t))
		if errors.Is(err, tsocket.ErrTimeout) {
			stuck = append(stuck, r)
			continue
		}
		s, err := r.Result()
		require.NoError(t, err)
		defer s.Close()
	}
	mid := openFiles(t)
	stopped := 0
	for _, r := range stuck {
		want := syscall.ECANCELED
		if stopped == 0 {
			r.SetDeadline(time.Now())
			want = syscall.ETIMEDOUT
		} else {
			r.Cancel()
		}
		s, err := r.Wait(soon(t))
		if err == nil {
			require.NoError(t, s.Close())
			continue
		}
		isErrno(t, want, err)
		stopped++
	}
	require.GreaterOrEqual(t, stopped, len(stuck)-2)
	ctx := shortly(t)
	_, err = tsocket.DialTCP(ctx, tsocket.Addr{}, l.Addr())
	isErrno(t, syscall.ETIMEDOUT, err)
	_, err = tsocket.DialTCP(cancelled(), tsocket.Addr{}, l.Addr())
	isErrno(t, syscall.ECANCELED, err)
	assert.Eventually(t, func() bool { return openFiles(t) <= mid-len(stuck) }, 2*time.Minute, time.Millisecond)
	require.NoError(t, l.Close())
	assert.GreaterOrEqual(t, before+10, openFiles(t))
}
