package tstest

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// Disconnect is orderly: the peer gets everything, then the end.
func streamDisconnect(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	w := a.WritevSend(background, []byte("all of it"))
	got := make([]byte, 9)
	_, err := b.Readv(soon(t), got)
	require.NoError(t, err)
	assert.Equal(t, "all of it", string(got))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	bye := a.DisconnectSend(background)
	_, err = b.Readv(soon(t), got)
	require.ErrorIs(t, err, io.EOF)
	_, err = bye.Wait(soon(t))
	require.NoError(t, err)
	isErrno(t, syscall.ENOTCONN, a.Disconnect(background))
	isErrno(t, syscall.ENOTCONN, last(a.DisconnectSend(background).Result()))
	isErrno(t, syscall.ENOTCONN, a.Monitor(background))
	isErrno(t, syscall.ENOTCONN, last(a.PendingBytes()))
	require.NoError(t, a.Close())
	isErrno(t, syscall.ENOTCONN, a.Disconnect(background))
}

// Close is idempotent, and the end of everything.
func streamClose(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	one := make([]byte, 1)
	for _, op := range transfers {
		err := op.do(a, one)
		isErrno(t, syscall.ENOTCONN, err, op.name)
		require.ErrorIs(t, err, net.ErrClosed)
	}
	for _, err := range []error{
		a.Disconnect(background), a.Monitor(background), last(a.PendingBytes()),
		last(a.ReadSome(background, one)),
	} {
		isErrno(t, syscall.ENOTCONN, err)
		require.ErrorIs(t, err, net.ErrClosed)
	}
	_, err := b.Readv(soon(t), one)
	oneOf(t, err, syscall.EPIPE, syscall.ECONNRESET)
}

// Close completes whoever waits. (In C they wait for ever.)
func streamCloseWaiting(t *testing.T, k Streams) {
	for range 3 {
		a, _ := k.Pair(t)
		r, w, m := a.ReadvSend(background, make([]byte, 8)), k.stuff(t, a), a.MonitorSend(background)
		called := make(chan struct{}, 2)
		r.OnDone(func(*tsocket.Request[int64]) { called <- struct{}{} })
		w.OnDone(func(*tsocket.Request[int64]) { called <- struct{}{} })
		require.NoError(t, a.Close())
		for _, err := range []error{last(r.Wait(soon(t))), last(w.Wait(soon(t))), last(m.Wait(soon(t)))} {
			isErrno(t, syscall.ENOTCONN, err)
			require.ErrorIs(t, err, net.ErrClosed)
		}
		<-called
		<-called
	}
	for _, op := range transfers {
		a, _ := k.Pair(t)
		if op.name == "writev" || op.name == "writev send" {
			_, _ = k.stuff(t, a).Wait(ended())
		}
		outcome := make(chan error)
		go func() { outcome <- op.do(a, make([]byte, 8)) }()
		require.NoError(t, a.Close())
		err := <-outcome
		oneOf(t, err, syscall.ENOTCONN, syscall.EBUSY)
	}
	// Close in the moment in which something begins.
	for i := range 10 * len(transfers) {
		a, b := k.Pair(t)
		op := transfers[i%len(transfers)]
		outcome := begin(func() error {
			for {
				if err := op.do(a, make([]byte, 3000)); err != nil {
					return err
				}
			}
		})
		done := drain(b)
		if i%2 == 0 {
			b.WritevSend(background, []byte("something"))
		}
		require.NoError(t, a.Close())
		isErrno(t, syscall.ENOTCONN, <-outcome, op.name)
		<-done
		require.NoError(t, b.Close())
	}
}

// A monitor ends when the connection does, and disturbs nothing before.
func streamMonitor(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	m := a.MonitorSend(background)
	require.True(t, m.InProgress())
	isErrno(t, syscall.EALREADY, a.Monitor(background))
	k.move(t, a, b, []byte("there"))
	k.move(t, b, a, []byte("and back"))
	require.True(t, m.Cancel())
	isErrno(t, syscall.ECANCELED, last(m.Wait(soon(t))))
	isErrno(t, syscall.ECANCELED, a.Monitor(ended()))

	m = a.MonitorSend(background)
	called := make(chan struct{})
	m.OnDone(func(*tsocket.Request[struct{}]) { close(called) })
	require.NoError(t, b.Close())
	if k.NoMonitor {
		_, err := a.Readv(soon(t), make([]byte, 1))
		oneOf(t, err, syscall.EPIPE, syscall.ECONNRESET)
	}
	<-called
	oneOf(t, last(m.Wait(soon(t))), syscall.EPIPE, syscall.ECONNRESET)
	_, err := a.Writev(background, []byte("x"))
	oneOf(t, err, syscall.EPIPE, syscall.ECONNRESET)

	a, b = k.Pair(t)
	done := drain(b)
	m = a.MonitorSend(background)
	require.NoError(t, a.Disconnect(soon(t)), "a monitor does not stand in the way")
	isErrno(t, syscall.ECONNABORTED, last(m.Wait(soon(t))))
	<-done
}

// Everything at once, from many goroutines: every call returns, and with one of
// the errors that are foreseen.
func streamRace(t *testing.T, k Streams) {
	foreseen := []syscall.Errno{
		0, syscall.EBUSY, syscall.EALREADY, syscall.ECANCELED, syscall.ENOTCONN,
		syscall.ECONNABORTED, syscall.EPIPE, syscall.ECONNRESET,
	}
	for round := range 10 {
		a, b := k.Pair(t)
		done := drain(b)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				buf := make([]byte, 100)
				for j := range 50 {
					var err error
					switch (i + j) % 8 {
					case 0:
						_, err = a.Writev(background, buf)
					case 1:
						r := a.ReadvSend(background, buf)
						r.Cancel()
						_, err = r.Wait(background)
					case 2:
						w := a.WritevSend(background, buf)
						w.Cancel()
						_, err = w.Wait(background)
					case 3:
						_, err = a.Readv(ended(), buf)
					case 4:
						m := a.MonitorSend(background)
						m.Cancel()
						_, err = m.Wait(background)
					case 5:
						_, err = a.PendingBytes()
					case 6:
						if j > 40 && round%2 == 0 {
							err = a.Disconnect(background)
						}
					case 7:
						if j > 45 && round%2 == 1 {
							err = a.Close()
						}
					}
					assert.Contains(t, foreseen, tsocket.Errno(err), err)
				}
			})
		}
		wg.Wait()
		require.NoError(t, a.Close())
		<-done
	}
}
