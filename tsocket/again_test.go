package tsocket_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// TestInterruptedOnce: an operation that was interrupted while it waited leaves
// nothing behind that would interrupt the next one, or make it spin.
func TestInterruptedOnce(t *testing.T) {
	eachPair(t, "", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		buf := make([]byte, 1)
		for i := range 5 {
			ctx, cancel := context.WithCancel(background)
			done := make(chan error, 1)
			go func() {
				_, err := a.Readv(ctx, buf)
				done <- err
			}()
			if i > 0 {
				_, _ = tsocket.NewStream(newHeld()).ReadSome(shortly(t), buf) // until it waits
			}
			cancel()
			require.ErrorIs(t, <-done, tsocket.ErrCanceled)
			// The same context again: it has ended, nothing will tell so anew.
			_, err := a.Readv(ctx, buf)
			require.ErrorIs(t, err, tsocket.ErrCanceled)

			r := a.ReadvSend(background, buf)
			r.SetDeadline(time.Now().Add(time.Millisecond))
			_, err = r.Wait(background)
			require.ErrorIs(t, err, tsocket.ErrTimeout)

			go func() {
				_, err := a.Readv(background, buf)
				done <- err
			}()
			assertIdle(t, 50*time.Millisecond, justWait)
			write(t, b, "x")
			require.NoError(t, <-done)
		}
	})
	d := udp(t, loopback4(t), tsocket.Addr{})
	for range 3 {
		_, _, err := d.RecvFrom(shortly(t), nil)
		require.ErrorIs(t, err, tsocket.ErrTimeout)
		got := make(chan error, 1)
		go func() {
			_, _, err := d.RecvFrom(background, make([]byte, 1))
			got <- err
		}()
		_, _ = tsocket.NewStream(newHeld()).ReadSome(shortly(t), make([]byte, 1))
		_, err = d.SendTo(background, []byte("x"), d.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, <-got)
	}
}

// TestNobodyWaits: a request goes on though nobody waits for it.
func TestNobodyWaits(t *testing.T) {
	a, b := unixPair(t)
	r := a.ReadvSend(background, make([]byte, 4<<20))
	_, err := b.Writev(soon(t), make([]byte, 4<<20))
	require.NoError(t, err)
	_, err = r.Wait(soon(t))
	require.NoError(t, err)
}

// TestFullBySomebodyElse: a unix datagram socket is writable while the queue of
// the one it sends to is full of others' datagrams, and no event tells of room.
func TestFullBySomebodyElse(t *testing.T) {
	at := socketPath(t, "slow")
	r := unixDgram(t, at, tsocket.Addr{})
	other := unixDgram(t, tsocket.Addr{}, tsocket.Addr{})
	sent := 0
	for {
		req := other.SendToSend(background, []byte("x"), at)
		if req.InProgress() {
			require.True(t, req.Cancel())
			_, _ = req.Wait(soon(t))
			break
		}
		sent++
	}
	d := unixDgram(t, tsocket.Addr{}, tsocket.Addr{})
	stuck := d.SendToSend(background, []byte("y"), at)
	require.True(t, stuck.InProgress())
	assertIdle(t, 100*time.Millisecond, func(ctx context.Context) {
		_, err := stuck.Wait(ctx)
		require.ErrorIs(t, err, tsocket.ErrTimeout)
	})
	for range sent {
		recv(t, r)
	}
	_, err := stuck.Wait(soon(t))
	require.NoError(t, err)
}

// TestStandardDescriptors: a socket never takes the number of a standard
// descriptor that somebody has closed.
func TestStandardDescriptors(t *testing.T) {
	saved, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	require.NoError(t, unix.Close(0))
	d, derr := tsocket.UDP(loopback4(t), tsocket.Addr{})
	require.NoError(t, unix.Dup2(saved, 0))
	require.NoError(t, unix.Close(saved))
	require.NoError(t, derr)
	closeLater(t, d)
	require.NoError(t, d.SyscallFD(func(fd int) error {
		assert.Greater(t, fd, 2)
		return nil
	}))
	_, err = d.SendTo(background, []byte("x"), d.LocalAddr())
	require.NoError(t, err)
}

// TestPieces sends neighbours of every kind, which go as pieces where they can.
func TestPieces(t *testing.T) {
	in, other, out := udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{})
	to := []tsocket.Addr{in.LocalAddr(), in.LocalAddr(), in.LocalAddr(), other.LocalAddr()}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var want [][]byte
		msgs := make([]tsocket.Message, 1+r.IntN(12))
		for i := range msgs {
			data := make([]byte, []int{1, 50, 100, 100, 100}[r.IntN(5)])
			for k := range data {
				data[k] = byte(i)
			}
			msgs[i] = tsocket.Message{Data: data, Addr: to[r.IntN(len(to))]}
			if msgs[i].Addr == in.LocalAddr() {
				want = append(want, data)
			}
		}
		n, err := out.SendBatch(soon(t), msgs)
		require.NoError(t, err)
		require.Equal(t, len(msgs), n)
		for _, w := range want {
			got, _ := recv(t, in)
			require.Equal(t, string(w), got)
		}
	}
}
