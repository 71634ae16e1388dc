package tstest

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// What a Request promises, whatever it waits for.
func streamRequests(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	buf := make([]byte, 3)
	r := a.ReadvSend(background, buf)
	isErrno(t, syscall.ECANCELED, last(r.Wait(ended())), "the end of the waiting")
	ctx := soon(t)
	require.True(t, r.InProgress(), "is not the end of the request")
	w := b.WritevSend(background, []byte("abc"))
	<-r.Done()
	n, err := r.Wait(ended())
	require.NoError(t, err, "a result is a result")
	require.EqualValues(t, 3, n)
	n, err = r.Result()
	require.NoError(t, err, "as often as one likes")
	require.EqualValues(t, 3, n)
	require.False(t, r.Cancel())
	_, err = w.Wait(ctx)
	require.NoError(t, err)

	for _, face := range []func() *tsocket.Request[int64]{
		func() *tsocket.Request[int64] { return a.ReadvSend(ended(), buf) },
		func() *tsocket.Request[int64] { return a.WritevSend(ended(), buf) },
	} {
		isErrno(t, syscall.ECANCELED, last(face().Wait(ctx)))
	}
	k.move(t, a, b, []byte("nothing was written"))
	k.move(t, b, a, []byte("nothing was read"))
}

// A callback runs once, never inside the ...Send, and finds its direction free.
func streamCallbacks(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	got := make(chan byte)
	over := make(chan struct{})
	inside := make(chan struct{}) // closed when the ...Send has returned
	buf := make([]byte, 1)
	var onRead func(r *tsocket.Request[int64])
	onRead = func(r *tsocket.Request[int64]) {
		<-inside // a callback inside the ...Send waits for ever
		if _, err := r.Result(); err != nil {
			close(over)
			return
		}
		assert.False(t, r.InProgress())
		c := buf[0]
		next := a.ReadvSend(background, buf) // the direction is free
		next.OnDone(onRead)
		got <- c
	}
	a.ReadvSend(background, buf).OnDone(onRead)
	close(inside)
	for _, c := range []byte("callbacks") {
		w := b.WritevSend(background, []byte{c})
		require.Equal(t, c, <-got)
		_, err := w.Wait(soon(t))
		require.NoError(t, err)
	}
	require.NoError(t, b.Close())
	<-over

	// A request that is finished already calls back too.
	calls := make(chan struct{}, 3)
	refused := a.ReadvSend(background)
	refused.OnDone(func(*tsocket.Request[int64]) { calls <- struct{}{} })
	refused.OnDone(func(*tsocket.Request[int64]) { calls <- struct{}{} })
	<-calls
	<-calls
}

// Deadlines, of a request and of its context.
func streamDeadlines(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	buf := make([]byte, 1)
	r := a.ReadvSend(background, buf)
	r.SetDeadline(time.Now().Add(5 * time.Millisecond))
	isErrno(t, syscall.ETIMEDOUT, last(r.Wait(soon(t))))
	k.move(t, b, a, []byte("usable at once"))

	r = a.ReadvSend(background, buf)
	r.SetDeadline(time.Now().Add(time.Hour))
	r.SetDeadline(time.Time{})
	w := b.WritevSend(background, []byte("x"))
	_, err := r.Wait(soon(t))
	require.NoError(t, err)
	_, err = w.Wait(soon(t))
	require.NoError(t, err)

	w = k.stuff(t, a)
	w.SetDeadline(time.Now())
	isErrno(t, syscall.ETIMEDOUT, last(w.Wait(soon(t))))
}
