package tstest

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// dgramChecks: EINVAL for what is empty, EBUSY, ENOTCONN, in this order.
func dgramChecks(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	to := k.to(b)
	r := a.RecvFromSend(background)
	isErrno(t, syscall.EBUSY, last(a.RecvFromSend(background).Result()))
	isErrno(t, syscall.EBUSY, a.Disconnect(background))
	require.True(t, r.Cancel())
	isErrno(t, syscall.ECANCELED, last(r.Wait(soon(t))))
	require.NoError(t, a.Disconnect(soon(t)))
	isErrno(t, syscall.EINVAL, last(a.SendTo(background, nil, to)), "before ENOTCONN")
	isErrno(t, syscall.ENOTCONN, last(a.SendTo(background, []byte("x"), to)))
	isErrno(t, syscall.ENOTCONN, last(a.SendToSend(background, []byte("x"), to).Result()))
	_, _, err := a.RecvFrom(background, make([]byte, 1))
	isErrno(t, syscall.ENOTCONN, err)
	isErrno(t, syscall.ENOTCONN, last(a.RecvFromSend(background).Result()))
	isErrno(t, syscall.ENOTCONN, a.Disconnect(background))
}

// The loser of a race for a direction disturbs nothing.
func dgramBusy(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	r := a.RecvFromSend(background)
	for range 3 {
		_, _, err := a.RecvFrom(background, make([]byte, 1))
		isErrno(t, syscall.EBUSY, err)
		isErrno(t, syscall.EBUSY, last(a.RecvBatch(background, make([]tsocket.Message, 1))))
	}
	k.pass(t, a, b, []byte("the other direction is free"))
	_, err := b.SendTo(soon(t), []byte("abc"), k.to(a))
	require.NoError(t, err)
	got, err := r.Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "abc", string(got.Data))
}

// Callbacks run once, outside the ...Send, and find their direction free.
func dgramRequests(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	got := make(chan string)
	over := make(chan struct{})
	inside := make(chan struct{})
	var onRecv func(r *tsocket.Request[tsocket.Datagram])
	onRecv = func(r *tsocket.Request[tsocket.Datagram]) {
		<-inside
		d, err := r.Result()
		if err != nil {
			close(over)
			return
		}
		b.RecvFromSend(background).OnDone(onRecv)
		got <- string(d.Data)
	}
	b.RecvFromSend(background).OnDone(onRecv)
	close(inside)
	for _, text := range []string{"one", "two", "three"} {
		_, err := a.SendTo(soon(t), []byte(text), k.to(b))
		require.NoError(t, err)
		require.Equal(t, text, <-got)
	}
	require.NoError(t, b.Close())
	<-over

	isErrno(t, syscall.ECANCELED, last(a.RecvFromSend(ended()).Wait(soon(t))))
	isErrno(t, syscall.ECANCELED, last(a.SendToSend(ended(), []byte("x"), k.to(a)).Wait(soon(t))))
	r := a.RecvFromSend(background)
	isErrno(t, syscall.ECANCELED, last(r.Wait(ended())))
	require.True(t, r.InProgress())
	r.SetDeadline(time.Now().Add(time.Millisecond))
	isErrno(t, syscall.ETIMEDOUT, last(r.Wait(soon(t))))
}

// A receive that is cancelled takes nothing with it.
func dgramCancel(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	for i := range 200 {
		r := b.RecvFromSend(background)
		if i%2 == 0 {
			r.Done() // a goroutine is waiting
		}
		sent := []byte{byte(i)}
		_, err := a.SendTo(soon(t), sent, k.to(b))
		require.NoError(t, err)
		r.Cancel()
		got, err := r.Wait(soon(t))
		if err != nil {
			isErrno(t, syscall.ECANCELED, err)
			got, err = b.RecvFromSend(background).Wait(soon(t))
			require.NoError(t, err)
		}
		require.Equal(t, sent, got.Data)
	}
	isErrno(t, syscall.ECANCELED, last(a.SendTo(ended(), []byte("x"), k.to(b))))
	_, _, err := a.RecvFrom(ended(), make([]byte, 1))
	isErrno(t, syscall.ECANCELED, err)
}

func dgramDisconnect(t *testing.T, k Dgrams) {
	a, _ := k.Pair(t)
	_, err := a.DisconnectSend(background).Wait(soon(t))
	require.NoError(t, err)
	isErrno(t, syscall.ENOTCONN, last(a.DisconnectSend(background).Result()))
	require.NoError(t, a.Close())
	isErrno(t, syscall.ENOTCONN, a.Disconnect(background))
}

// Close is idempotent, completes whoever waits, and ends everything.
func dgramClose(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	to := k.to(b)
	r := a.RecvFromSend(background)
	outcome := make(chan error)
	go func() {
		_, _, err := b.RecvFrom(background, make([]byte, 1))
		outcome <- err
	}()
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	for _, err := range []error{
		last(r.Wait(soon(t))), <-outcome, a.Disconnect(background),
		last(a.SendTo(background, []byte("x"), to)), last(a.RecvFromSend(background).Result()),
	} {
		isErrno(t, syscall.ENOTCONN, err)
		require.ErrorIs(t, err, net.ErrClosed)
	}
}

// Everything at once: every call returns, with a foreseen error.
func dgramRace(t *testing.T, k Dgrams) {
	foreseen := []syscall.Errno{
		0, syscall.EBUSY, syscall.EALREADY, syscall.ECANCELED, syscall.ENOTCONN,
		syscall.ECONNABORTED, syscall.ECONNREFUSED,
	}
	for round := range 5 {
		a, b := k.Pair(t)
		to := k.to(b)
		ctx, stop := context.WithCancel(background)
		var drained sync.WaitGroup
		drained.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = b.RecvFrom(ctx, make([]byte, 100))
			}
		})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				for j := range 50 {
					var err error
					switch (i + j) % 6 {
					case 0:
						_, err = a.SendTo(background, []byte("x"), to)
					case 1:
						r := a.RecvFromSend(background)
						r.Cancel()
						_, err = r.Wait(background)
					case 2:
						w := a.SendToSend(background, []byte("x"), to)
						w.Cancel()
						_, err = w.Wait(background)
					case 3:
						_, _, err = a.RecvFrom(ended(), make([]byte, 9))
					case 4:
						if j > 40 && round%2 == 0 {
							err = a.Disconnect(background)
						}
					case 5:
						if j > 45 && round%2 == 1 {
							err = a.Close()
						}
					}
					assert.Contains(t, foreseen, tsocket.Errno(err), err)
				}
			})
		}
		wg.Wait()
		stop()
		drained.Wait()
		_, _ = a.Close(), b.Close()
	}
}

// dgramPacketConn is about the adapter: deadlines, Close.
func dgramPacketConn(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	c, d := tsocket.AsPacketConn(a), tsocket.AsPacketConn(b)
	var dst net.Addr
	if !k.Connected {
		dst = d.LocalAddr()
	}
	_, err := c.WriteTo([]byte("abc"), dst)
	require.NoError(t, err)
	buf := make([]byte, 9)
	n, from, err := d.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "abc", string(buf[:n]))
	if !k.Connected {
		require.Equal(t, c.LocalAddr().String(), from.String())
	}
	require.NoError(t, d.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, _, err = d.ReadFrom(buf)
	var late net.Error
	require.ErrorAs(t, err, &late)
	require.True(t, late.Timeout())
	require.NoError(t, d.SetReadDeadline(time.Time{}))
	_, err = c.WriteTo([]byte("again"), dst)
	require.NoError(t, err)
	n, _, err = d.ReadFrom(buf)
	require.NoError(t, err)
	require.Equal(t, "again", string(buf[:n]))
}
