package tstest

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

var background = context.Background()

// patience is how long something that is to happen is waited for.
const patience = 2 * time.Minute

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, patience)
	t.Cleanup(cancel)
	return ctx
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx
}

// await calls ok until it is true. It is for states that nothing signals.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			require.FailNow(t, "never: "+what)
		}
	}
}

// isErrno requires that err is an OpError with that errno.
func isErrno(t testing.TB, want syscall.Errno, err error, msg ...any) {
	t.Helper()
	require.Error(t, err, msg...)
	var op *tsocket.OpError
	require.ErrorAs(t, err, &op, msg...)
	require.Equal(t, want.Error(), tsocket.Errno(err).Error(), append(msg, err)...)
}

// oneOf requires that the errno of err is one of these.
func oneOf(t testing.TB, err error, want ...syscall.Errno) {
	t.Helper()
	require.Error(t, err)
	require.Contains(t, want, tsocket.Errno(err), err)
}

// pattern returns n bytes that show where they belong.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

// move sends data from a to b, in pieces that a takes, and requires that it
// arrives.
func (k Streams) move(t testing.TB, a, b *tsocket.Stream, data []byte) {
	t.Helper()
	for len(data) > 0 {
		piece := data
		if k.MaxWrite > 0 {
			piece = data[:min(len(data), k.MaxWrite)]
		}
		w := a.WritevSend(soon(t), piece)
		got := make([]byte, len(piece))
		n, err := b.Readv(soon(t), got)
		require.NoError(t, err)
		require.EqualValues(t, len(piece), n)
		n, err = w.Wait(soon(t))
		require.NoError(t, err)
		require.EqualValues(t, len(piece), n)
		require.Equal(t, piece, got)
		data = data[len(piece):]
	}
}

// stuff writes to s until a write waits, and returns that write.
func (k Streams) stuff(t testing.TB, s *tsocket.Stream) *tsocket.Request[int64] {
	const most = 64 << 20
	piece := make([]byte, 1<<20)
	if k.MaxWrite > 0 {
		piece = piece[:min(len(piece), k.MaxWrite)]
	}
	enough := 20 * time.Millisecond // for something of such a write to go
	if k.MaxWrite > 0 {
		enough = time.Second // for a write that does not wait to end
	}
	vec := [][]byte{piece}
	for k.MaxWrite == 0 && len(vec) < most/len(piece) {
		vec = append(vec, piece)
	}
	for {
		w := s.WritevSend(background, vec...)
		if !within(enough, w) {
			return w
		}
		require.NoError(t, last(w.Result()))
	}
}

// within waits for r, but not longer than d, and reports whether it is done.
func within[T any](d time.Duration, r *tsocket.Request[T]) bool {
	ctx, cancel := context.WithTimeout(background, d)
	defer cancel()
	_, _ = r.Wait(ctx)
	return !r.InProgress()
}

// drain reads from s whatever comes until it fails, and closes the channel then.
func drain(s *tsocket.Stream) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 64<<10)
		for {
			if _, err := s.ReadSome(background, b); err != nil {
				return
			}
		}
	}()
	return done
}

// begin runs fn on a goroutine: a goodbye may have to wait until the peer reads.
func begin(fn func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	return done
}
