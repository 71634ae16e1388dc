package facetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// sizes are around where packets, jumbo pieces and windows end.
var sizes = []int{0, 1, 4, 1143, 1144, 1145, 1171, 1172, 1173, 1411, 1412, 1413, 1443, 1444, 1445, 2824, 2825, 65536, 300_000, 3_000_000}

func testCallSendsAndReturnsEveryByte(t *T) {
	for name, local := range map[string]netip.AddrPort{"IPv4": local4, "IPv6": local6} {
		t.Run(name, func(t *T) {
			e := open(t, local, nil)
			s := rxrpc.NewServer(e, &rxrpc.ServerConfig{MaxRequest: 4 << 20})
			t.Cleanup(func() { _ = s.Close() })
			require.NoError(t, s.Handle(1, echo))
			require.NoError(t, s.Handle(2, echoStream))
			c := open(t, local, nil).Client(e.LocalAddr(), nil)
			for _, n := range sizes {
				want := pattern(n)
				for _, service := range []uint16{1, 2} {
					got, err := c.Call(soon(t), service, want)
					require.NoError(t, err, "%d bytes, service %d", n, service)
					require.True(t, bytes.Equal(want, got), "%d bytes, service %d: got %d", n, service, len(got))
				}
			}
		})
	}
}

func testAppendCallAppends(t *T) {
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: echo}), nil)
	got, err := c.AppendCall(soon(t), []byte("ab"), 1, []byte("cd"))
	require.NoError(t, err)
	assert.Equal(t, "abcd", string(got))
	got, err = c.AppendCall(soon(t), []byte("ab"), 9, nil)
	require.Error(t, err)
	assert.Equal(t, "ab", string(got), "as it was")
}

func testStreamInPiecesOfAllSizes(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		all, err := io.ReadAll(call)
		if err != nil {
			return err
		}
		for len(all) > 0 { // the reply in pieces of another size
			n := min(len(all), 777)
			if _, err := call.Write(all[:n]); err != nil {
				return err
			}
			all = all[n:]
		}
		return nil
	})})
	c := client(t, s, nil)
	want := pattern(200_000)
	for _, piece := range []int{1 << 20, 100_000, 1412, 1000, 100} {
		call, err := c.NewCall(soon(t), 1)
		require.NoError(t, err)
		for b := want; len(b) > 0; {
			n := min(len(b), piece)
			k, err := call.Write(b[:n])
			require.NoError(t, err)
			require.Equal(t, n, k)
			b = b[n:]
		}
		require.NoError(t, call.CloseWrite())
		require.NoError(t, call.CloseWrite(), "again")
		_, err = call.Write([]byte("x"))
		require.ErrorIs(t, err, rxrpc.ErrWriteClosed)
		require.ErrorIs(t, err, syscall.EPROTO)
		got, err := io.ReadAll(call)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "pieces of %d: %d bytes", piece, len(got))
		_, err = call.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "again")
		require.NoError(t, call.Close())
		require.NoError(t, call.Close(), "idempotent")
	}
}

func testReadEndsTheRequest(t *T) {
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: echoStream}), nil)
	call, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	got, err := io.ReadAll(call)
	require.NoError(t, err)
	assert.Empty(t, got)
	call, err = c.NewCall(soon(t), 1)
	require.NoError(t, err)
	_, err = call.WriteLast([]byte("all"))
	require.NoError(t, err)
	got, err = io.ReadAll(call)
	require.NoError(t, err)
	assert.Equal(t, "all", string(got))
	assert.EqualValues(t, 1, call.Service())
}

func testAnnouncedLengthIsKept(t *T) {
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: echoStream}), nil)
	call, err := c.NewCall(soon(t), 1, rxrpc.Length(4))
	require.NoError(t, err)
	defer call.Close()
	_, err = call.Write([]byte("abcde"))
	require.ErrorIs(t, err, rxrpc.ErrLength)
	require.ErrorIs(t, err, syscall.EMSGSIZE)
	call, err = c.NewCall(soon(t), 1, rxrpc.Length(4))
	require.NoError(t, err)
	_, err = call.WriteLast([]byte("abcd"))
	require.NoError(t, err)
	got, err := io.ReadAll(call)
	require.NoError(t, err)
	assert.Equal(t, "abcd", string(got))
}

// abortOf returns the AbortError in err.
func abortOf(t *T, err error) *rxrpc.AbortError {
	t.Helper()
	var a *rxrpc.AbortError
	require.ErrorAs(t, err, &a)
	return a
}

func testAbortsHaveCodesAndNames(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{
		1: rxrpc.Unary(func(context.Context, *rxrpc.ServerCall, []byte, []byte) ([]byte, error) {
			return nil, rxrpc.Abort(363524)
		}),
		2: rxrpc.HandlerFunc(func(context.Context, *rxrpc.ServerCall) error { return fmt.Errorf("no: %w", rxrpc.Abort(49733377)) }),
		3: rxrpc.HandlerFunc(func(context.Context, *rxrpc.ServerCall) error { return errors.New("any") }),
		4: rxrpc.HandlerFunc(func(context.Context, *rxrpc.ServerCall) error { panic("on purpose") }),
	})
	c := client(t, s, nil)
	for service, want := range map[uint16]struct {
		code int32
		name string
	}{1: {363524, "VL_NOENT"}, 2: {49733377, "UAENOENT"}, 3: {-6, "RX_USER_ABORT"}, 4: {-6, "RX_USER_ABORT"}, 9: {-2, "RX_INVALID_OPERATION"}} {
		_, err := c.Call(soon(t), service, []byte("x"))
		a := abortOf(t, err)
		assert.Equal(t, want.code, a.Code, err)
		assert.Equal(t, want.name, a.Name())
		assert.True(t, a.Remote)
		require.ErrorIs(t, err, syscall.ECONNABORTED)
		require.ErrorIs(t, err, rxrpc.Abort(want.code))
		assert.Equal(t, want.code, rxrpc.CodeOf(err), "passed on as it came")
		assert.Contains(t, err.Error(), want.name)
		assert.Contains(t, err.Error(), c.Peer().String())
		if service == 2 {
			require.ErrorIs(t, err, syscall.ENOENT)
		}
	}
}

func testRepliesAndRequestsHaveLimits(t *T) {
	s := serve(t, &rxrpc.ServerConfig{MaxRequest: 1000}, map[uint16]rxrpc.Handler{1: echo, 2: echoStream})
	c := client(t, s, &rxrpc.ClientConfig{MaxReply: 10_000})
	_, err := c.Call(soon(t), 1, make([]byte, 1000))
	require.NoError(t, err)
	_, err = c.Call(soon(t), 1, make([]byte, 1001))
	assert.EqualValues(t, -453, abortOf(t, err).Code)
	_, err = c.Call(soon(t), 2, make([]byte, 10_000))
	require.NoError(t, err)
	_, err = c.Call(soon(t), 2, make([]byte, 10_001))
	require.ErrorIs(t, err, rxrpc.ErrTooLarge)
	require.ErrorIs(t, err, syscall.EMSGSIZE)
}

// stuck is a handler that waits for its context, and says when it came and went.
type stuck struct{ came, went chan struct{} }

func newStuck() *stuck { return &stuck{make(chan struct{}, 64), make(chan struct{}, 64)} }

func (s *stuck) ServeRx(ctx context.Context, call *rxrpc.ServerCall) error {
	s.came <- struct{}{}
	<-ctx.Done()
	s.went <- struct{}{}
	return ctx.Err()
}

func wait(t *T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-soon(t).Done():
		t.Fatal("it never came")
	}
}

func testContextEndsTheCallOnBothSides(t *T) {
	h := newStuck()
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: h}), nil)
	cause := errors.New("not needed any more")
	for name, test := range map[string]struct {
		end  func(context.CancelCauseFunc)
		code int32
		want error
	}{
		"cancelled":  {func(f context.CancelCauseFunc) { f(nil) }, rxrpc.UserAbort, context.Canceled},
		"by a cause": {func(f context.CancelCauseFunc) { f(cause) }, rxrpc.UserAbort, cause},
		"by a code":  {func(f context.CancelCauseFunc) { f(rxrpc.Abort(110)) }, 110, rxrpc.Abort(110)},
		"deadline":   {func(f context.CancelCauseFunc) { f(context.DeadlineExceeded) }, rxrpc.CallTimeout, context.DeadlineExceeded},
	} {
		t.Run("call "+name, func(t *T) {
			ctx, cancel := context.WithCancelCause(soon(t))
			done := make(chan error, 1)
			go func() {
				_, err := c.Call(ctx, 1, nil)
				done <- err
			}()
			wait(t, h.came)
			test.end(cancel)
			err := <-done
			a := abortOf(t, err)
			assert.Equal(t, test.code, a.Code)
			assert.False(t, a.Remote)
			require.ErrorIs(t, err, test.want)
			wait(t, h.went)
		})
		t.Run("stream "+name, func(t *T) {
			ctx, cancel := context.WithCancelCause(soon(t))
			call, err := c.NewCall(ctx, 1)
			require.NoError(t, err)
			_, err = call.Write([]byte("x"))
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() {
				_, err := call.Read(make([]byte, 1))
				done <- err
			}()
			wait(t, h.came)
			test.end(cancel)
			err = <-done
			assert.Equal(t, test.code, abortOf(t, err).Code)
			require.ErrorIs(t, err, test.want)
			wait(t, h.went)
		})
	}
}

func testDeadlineIsATimeout(t *T) {
	h := newStuck()
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: h}), nil)
	ctx, cancel := context.WithTimeout(soon(t), 20_000_000)
	defer cancel()
	_, err := c.Call(ctx, 1, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, syscall.ETIME)
	assert.Equal(t, rxrpc.CallTimeout, abortOf(t, err).Code)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	_, err = c.Call(ctx, 1, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded, "nothing was sent")
	_, err = c.NewCall(ctx, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func testAbortEndsAStreamOnBothSides(t *T) {
	h := newStuck()
	c := client(t, serve(t, nil, map[uint16]rxrpc.Handler{1: h}), nil)
	call, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	_, err = call.WriteLast([]byte("x"))
	require.NoError(t, err)
	wait(t, h.came)
	call.Abort(42)
	wait(t, h.went)
	_, err = call.Read(make([]byte, 1))
	assert.EqualValues(t, 42, abortOf(t, err).Code)
	_, err = call.Write([]byte("x"))
	assert.EqualValues(t, 42, abortOf(t, err).Code)

	never, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	require.NoError(t, never.Close(), "before anything was sent")
	_, err = never.Write([]byte("x"))
	require.Error(t, err)
}

// TestHandlerNeedNotReadEverything: what is left of a request when the reply begins is
// thrown away.
func testHandlerNeedNotReadEverything(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{
		1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
			b := make([]byte, 10)
			if _, err := io.ReadFull(call, b); err != nil {
				return err
			}
			_, err := call.Write(b)
			return err
		}),
		2: rxrpc.HandlerFunc(func(context.Context, *rxrpc.ServerCall) error { return nil }),
	})
	c := client(t, s, nil)
	for _, n := range []int{10, 1000, 2_000_000} {
		got, err := c.Call(soon(t), 1, pattern(n))
		require.NoError(t, err, n)
		assert.Equal(t, pattern(10), got)
		got, err = c.Call(soon(t), 2, pattern(n))
		require.NoError(t, err, n)
		assert.Empty(t, got)
	}
}

func testManyCallsAtATime(t *T) {
	var running, most atomic.Int32
	s := serve(t, nil, map[uint16]rxrpc.Handler{
		1: rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			defer running.Add(-1)
			return append(dst, request...), nil
		}),
		2: echoStream,
	})
	c := client(t, s, nil)
	var wg sync.WaitGroup
	for g := range 100 {
		wg.Go(func() {
			for i := range 20 {
				want := pattern(g*20 + i)
				got, err := c.Call(soon(t), uint16(1+i%2), want)
				if !assert.NoError(t, err) {
					return
				}
				assert.True(t, bytes.Equal(want, got))
			}
		})
	}
	wg.Wait()
	assert.Positive(t, most.Load())
	st := c.Endpoint().Stats()
	assert.EqualValues(t, 2000, st.ClientCalls)
	assert.EqualValues(t, 2000, st.CallsOK)
	assert.Zero(t, st.CallsFailed)
}

// testStalls: who does not read holds up his own call, in either direction, and nobody else's.
func testStalls(t *T) {
	const much = 8 << 20 // more than all windows on the way
	release := make(chan struct{})
	s := serve(t, nil, map[uint16]rxrpc.Handler{
		1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
			for sent := 0; sent < much; sent += 1 << 16 {
				if _, err := call.Write(pattern(1 << 16)); err != nil {
					return err
				}
			}
			return nil
		}),
		2: rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			n, err := io.Copy(io.Discard, call)
			if err == nil {
				_, err = fmt.Fprint(call, n)
			}
			return err
		}),
		3: echo,
		4: rxrpc.HandlerFunc(func(ctx context.Context, _ *rxrpc.ServerCall) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil // what has come is thrown away, and so is the rest
		}),
	})
	c := client(t, s, nil)
	unread := make(chan error, 1)
	go func() {
		_, err := c.Call(soon(t), 4, make([]byte, much))
		unread <- err
	}()
	lazy, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	defer lazy.Close()
	require.NoError(t, lazy.CloseWrite())
	_, err = io.ReadFull(lazy, make([]byte, 100))
	require.NoError(t, err)
	stuck, err := c.NewCall(soon(t), 2)
	require.NoError(t, err)
	defer stuck.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := stuck.WriteLast(make([]byte, much))
		sent <- err
	}()

	for range 20 {
		got, err := c.Call(soon(t), 3, pattern(5000))
		require.NoError(t, err)
		require.Len(t, got, 5000)
	}
	eager, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, eager)
	require.NoError(t, err)
	assert.EqualValues(t, much, n)
	select {
	case err := <-sent:
		require.Fail(t, "the request cannot have been sent", "%v", err)
	default:
	}

	close(release)
	require.NoError(t, <-sent)
	require.NoError(t, <-unread)
	got, err := io.ReadAll(stuck)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint(much), string(got))
	n, err = io.Copy(io.Discard, lazy)
	require.NoError(t, err)
	assert.EqualValues(t, much-100, n)
}
