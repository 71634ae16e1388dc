package facetest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

func testServiceUpgrade(t *T) {
	who := func(name string) rxrpc.Handler {
		return rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
			return append(dst, name...), nil
		})
	}
	s := rxrpc.NewServer(open(t, local4, nil), nil)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.HandleUpgrade(1, who("old"), 2, who("new")))
	require.NoError(t, s.Handle(3, who("plain")))
	c := client(t, s, nil)
	for _, row := range []struct {
		service, got uint16
		reply        string
	}{{1, 2, "new"}, {2, 2, "new"}, {3, 3, "plain"}} {
		reply, got, err := c.CallUpgrade(soon(t), row.service, nil)
		require.NoError(t, err)
		assert.Equal(t, row.got, got)
		assert.Equal(t, row.reply, string(reply))
	}
	reply, err := c.Call(soon(t), 1, nil)
	require.NoError(t, err)
	assert.Equal(t, "old", string(reply), "who does not ask is not upgraded")

	call, err := c.NewCall(soon(t), 1, rxrpc.Upgrade())
	require.NoError(t, err)
	assert.EqualValues(t, 1, call.Service())
	b, err := io.ReadAll(call)
	require.NoError(t, err)
	assert.Equal(t, "new", string(b))
	assert.EqualValues(t, 2, call.Service())
}

func testServiceIsServedOnce(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: echo})
	err := s.Handle(1, echo)
	require.ErrorIs(t, err, rxrpc.ErrServiceTaken)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.Error(t, s.Handle(0, echo))
	other := rxrpc.NewServer(s.Endpoint(), nil)
	require.ErrorIs(t, other.Handle(1, echo), rxrpc.ErrServiceTaken)
	require.NoError(t, other.Handle(2, echo))
	require.NoError(t, other.Close())
	require.NoError(t, other.Close(), "idempotent")
	require.ErrorIs(t, other.Handle(3, echo), rxrpc.ErrClosed)
	c := client(t, s, nil)
	_, err = c.Call(soon(t), 1, nil)
	require.NoError(t, err, "the other server's end is not the endpoint's")
	_, err = c.Call(soon(t), 2, nil)
	assert.Equal(t, rxrpc.InvalidOperation, abortOf(t, err).Code)
	third := rxrpc.NewServer(s.Endpoint(), nil)
	require.NoError(t, third.Handle(2, echo), "the number is free again")
	require.NoError(t, third.Close())
}

// TestServerCallsItsClientBack from its own port, as file servers of AFS do.
func testServerCallsItsClientBack(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.Unary(func(ctx context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return call.Client(nil).AppendCall(ctx, dst, 2, request)
	})})
	back := serve(t, nil, map[uint16]rxrpc.Handler{2: rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		assert.Equal(t, s.Endpoint().LocalAddr(), call.Peer())
		return append(append(dst, request...), " and back"...), nil
	})})
	got, err := back.Client(s.Endpoint().LocalAddr(), nil).Call(soon(t), 1, []byte("there"))
	require.NoError(t, err)
	assert.Equal(t, "there and back", string(got))
}

func testContextKnowsItsCall(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
		sub, cancel := context.WithCancel(ctx)
		defer cancel()
		assert.Same(t, call, rxrpc.CallOf(sub))
		assert.NoError(t, ctx.Err())
		_, ok := ctx.Deadline()
		assert.False(t, ok)
		assert.EqualValues(t, 1, call.Service())
		return nil
	})})
	assert.Nil(t, rxrpc.CallOf(t.Context()))
	_, err := client(t, s, nil).Call(soon(t), 1, nil)
	require.NoError(t, err)
}

// TestHandlerThatKeepsItsCall gets errors, not another call's data.
func testHandlerThatKeepsItsCall(t *T) {
	kept := make(chan *rxrpc.ServerCall, 1)
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		kept <- call
		return nil
	})})
	_, err := client(t, s, nil).Call(soon(t), 1, nil)
	require.NoError(t, err)
	call := <-kept
	_, err = call.Read(make([]byte, 1))
	require.ErrorIs(t, err, rxrpc.ErrFinished)
	_, err = call.Write([]byte("x"))
	require.ErrorIs(t, err, rxrpc.ErrFinished)
	require.ErrorIs(t, call.SetLength(1), rxrpc.ErrFinished)
	require.ErrorIs(t, call.Close(), rxrpc.ErrFinished)
}

func testShutdownWaitsForHandlers(t *T) {
	came, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		later := true
		first.Do(func() { later = false })
		if later {
			return nil
		}
		close(came)
		<-release
		_, err := call.Write(pattern(1_000_000))
		return err
	})})
	c := client(t, s, nil)
	reply := make(chan error, 1)
	go func() {
		b, err := c.Call(soon(t), 1, nil)
		if err == nil && !bytes.Equal(b, pattern(1_000_000)) {
			err = io.ErrUnexpectedEOF
		}
		reply <- err
	}()
	wait(t, came)
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(soon(t)) }()
	for { // as soon as the server refuses, in whatever order the two come
		if _, err := c.Call(soon(t), 1, nil); err != nil {
			require.Equal(t, rxrpc.InvalidOperation, abortOf(t, err).Code)
			break
		}
	}
	select {
	case err := <-down:
		t.Fatalf("shutdown did not wait: %v", err)
	default:
	}
	close(release)
	require.NoError(t, <-reply)
	require.NoError(t, <-down)
	require.NoError(t, s.Endpoint().Wait(soon(t)))
}

func testShutdownGivesUp(t *T) {
	h := newStuck()
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: h})
	c := client(t, s, nil)
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(soon(t), 1, nil)
		done <- err
	}()
	wait(t, h.came)
	ctx, cancel := context.WithTimeout(soon(t), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
	wait(t, h.went)
	err := <-done
	assert.Equal(t, rxrpc.CallDead, abortOf(t, err).Code)
}

func testCloseEndsEverything(t *T) {
	h := newStuck()
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: h})
	e := open(t, local4, nil)
	c := e.Client(s.Endpoint().LocalAddr(), nil)
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(soon(t), 1, nil)
		done <- err
	}()
	wait(t, h.came)
	require.NoError(t, e.Close())
	require.NoError(t, e.Close(), "idempotent")
	require.Error(t, <-done)
	wait(t, h.went)
	_, err := c.Call(soon(t), 1, nil)
	require.ErrorIs(t, err, rxrpc.ErrClosed)
	require.ErrorIs(t, rxrpc.NewServer(e, nil).Handle(1, echo), rxrpc.ErrClosed)
	assert.NotPanics(t, func() { e.Stats() })
}

// TestCloseAmidCalls: whatever is going on, everybody is told, and nothing is left.
func testCloseAmidCalls(t *T) {
	for i, end := range []func(*rxrpc.Server, *rxrpc.Endpoint) error{
		func(s *rxrpc.Server, _ *rxrpc.Endpoint) error { return s.Close() },
		func(s *rxrpc.Server, _ *rxrpc.Endpoint) error { return s.Endpoint().Close() },
		func(_ *rxrpc.Server, e *rxrpc.Endpoint) error { return e.Close() },
	} {
		s := serve(t, nil, map[uint16]rxrpc.Handler{1: echo, 2: echoStream})
		e := open(t, local4, nil)
		c := e.Client(s.Endpoint().LocalAddr(), &rxrpc.ClientConfig{Timeouts: rxrpc.Timeouts{Normal: time.Minute}})
		var wg sync.WaitGroup
		started := make(chan struct{}, 1)
		for g := range 40 {
			wg.Go(func() {
				for n := 0; ; n++ {
					want := pattern(g * 500)
					got, err := c.Call(context.Background(), uint16(1+g%2), want)
					if err != nil {
						return
					}
					assert.True(t, bytes.Equal(want, got), "case %d", i)
					if n == 20 {
						select {
						case started <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		<-started
		require.NoError(t, end(s, e))
		wg.Wait()
	}
}

func testWorkersAreLimited(t *T) {
	var mu sync.Mutex
	running, most := 0, 0
	all := make(chan struct{})
	s := serve(t, &rxrpc.ServerConfig{Workers: 3}, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(context.Context, *rxrpc.ServerCall) error {
		mu.Lock()
		running++
		most = max(most, running)
		if running == 3 && most == 3 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		<-all
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	})})
	c := client(t, s, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := c.Call(soon(t), 1, nil)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	mu.Lock() // a handler may be on its way out yet
	defer mu.Unlock()
	assert.Equal(t, 3, most)
}

func testNobodyThere(t *T) {
	// A port that was free a moment ago.
	e, err := t.f.Open(t.T, local4, nil)
	require.NoError(t, err)
	peer := e.LocalAddr()
	require.NoError(t, e.Close())
	_, err = open(t, local4, nil).Client(peer, nil).Call(soon(t), 1, []byte("x"))
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var n *rxrpc.NetError
	require.ErrorAs(t, err, &n)
}

func testSilentPeerTimesOut(t *T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	peer := silent.LocalAddr().(*net.UDPAddr).AddrPort()
	for name, limits := range map[string]rxrpc.Timeouts{"hard": {Hard: 50 * time.Millisecond}, "normal": {Normal: 50 * time.Millisecond}} {
		c := open(t, local4, nil).Client(peer, &rxrpc.ClientConfig{Timeouts: limits})
		_, err = c.Call(soon(t), 1, []byte("x"))
		a := abortOf(t, err)
		assert.Equal(t, rxrpc.CallTimeout, a.Code, name)
		assert.True(t, a.Timeout())
		require.ErrorIs(t, err, syscall.ETIME)
	}
}

// TestRefusedByThisHost: what the socket refuses ends the call at once.
func testRefusedByThisHost(t *T) {
	_, err := open(t, local4, nil).Client(netip.MustParseAddrPort("192.0.2.1:7000"), nil).Call(soon(t), 1, nil)
	var n *rxrpc.NetError
	require.ErrorAs(t, err, &n, "from 127.0.0.1 nothing goes elsewhere")
	assert.True(t, n.Local)
	require.ErrorIs(t, err, syscall.EINVAL)
}

// TestAbortIsNotOvertaken by what else happens to the call in the moment when its handler
// returns: the client gets the handler's code, always.
func testAbortIsNotOvertaken(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{
		1: rxrpc.Unary(func(context.Context, *rxrpc.ServerCall, []byte, []byte) ([]byte, error) { return nil, rxrpc.Abort(77) }),
		2: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error { return rxrpc.Abort(77) }),
	})
	c := client(t, s, nil)
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 200 {
				// A request of several packets, which keep arriving while the handler returns.
				_, err := c.Call(soon(t), uint16(1+g%2), make([]byte, i*50))
				if !assert.ErrorIs(t, err, rxrpc.Abort(77)) {
					return
				}
			}
		})
	}
	wg.Wait()
}
