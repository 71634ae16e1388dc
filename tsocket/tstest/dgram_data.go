package tstest

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// pass sends data from a to b and requires that it arrives.
func (k Dgrams) pass(t testing.TB, a, b *tsocket.Dgram, data []byte) {
	t.Helper()
	n, err := a.SendTo(soon(t), data, k.to(b))
	require.NoError(t, err)
	require.Equal(t, len(data), n)
	got := make([]byte, len(data))
	n, src, err := b.RecvFrom(soon(t), got)
	require.NoError(t, err)
	require.Equal(t, data, got[:n])
	if !k.Connected {
		require.Equal(t, a.LocalAddr(), src)
	}
}

// Both directions, both faces; the source is the way back.
func dgramTransfer(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	for range 2 {
		receiving := b.RecvFromSend(background)
		require.True(t, receiving.InProgress())
		n, err := a.SendToSend(background, []byte("ping"), k.to(b)).Wait(soon(t))
		require.NoError(t, err)
		require.Equal(t, 4, n)
		got, err := receiving.Wait(soon(t))
		require.NoError(t, err)
		require.Equal(t, "ping", string(got.Data))
		back := got.Src
		if k.Connected {
			back = tsocket.Addr{}
		}
		_, err = b.SendTo(soon(t), []byte("pong"), back)
		require.NoError(t, err)
		buf := make([]byte, 9)
		n, _, err = a.RecvFrom(soon(t), buf)
		require.NoError(t, err)
		require.Equal(t, "pong", string(buf[:n]))
		a, b = b, a
	}
}

// Boundaries are kept, whatever the size; nothing can be sent that is nothing.
func dgramSizes(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	for _, n := range []int{1, 2, 100, 1472, 1473, k.Max - 1, k.Max} {
		k.pass(t, a, b, pattern(n))
		k.pass(t, b, a, pattern(1))
	}
	isErrno(t, syscall.EINVAL, last(a.SendTo(background, nil, k.to(b))))
	isErrno(t, syscall.EINVAL, last(a.SendToSend(background, []byte{}, k.to(b)).Result()))
	k.pass(t, a, b, []byte("x"))
}

// A datagram that does not fit is kept, and its size is told.
func dgramRoom(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	for _, text := range []string{"too long", "next"} {
		_, err := a.SendTo(soon(t), []byte(text), k.to(b))
		require.NoError(t, err)
	}
	for range 2 {
		_, _, err := b.RecvFrom(soon(t), make([]byte, 7))
		isErrno(t, syscall.EMSGSIZE, err)
		var room *tsocket.RoomError
		require.ErrorAs(t, err, &room)
		require.Equal(t, 8, room.Need)
	}
	got, err := b.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "too long", string(got.Data))
	buf := make([]byte, 8)
	n, _, err := b.RecvFrom(soon(t), buf)
	require.NoError(t, err)
	assert.Equal(t, "next", string(buf[:n]))
}

// Batches are single datagrams in order, whether they fit the memory given or not.
func dgramBatch(t *testing.T, k Dgrams) {
	a, b := k.Pair(t)
	const count = 8
	out := make([]tsocket.Message, count)
	for i := range out {
		out[i] = tsocket.Message{Data: pattern(10 + 40*i), Addr: k.to(b)}
	}
	for sent := 0; sent < count; {
		n, err := a.SendBatch(soon(t), out[sent:])
		require.NoError(t, err)
		require.Positive(t, n)
		sent += n
	}
	in := make([]tsocket.Message, 3)
	for got := 0; got < count; {
		for i := range in {
			in[i].Buf = make([]byte, 100)
		}
		n, err := b.RecvBatch(soon(t), in)
		require.NoError(t, err)
		require.Positive(t, n)
		for _, m := range in[:n] {
			require.Equal(t, out[got].Data, m.Data)
			if !k.Connected {
				require.Equal(t, a.LocalAddr(), m.Addr)
			}
			got++
		}
	}
	_, err := a.SendBatch(background, []tsocket.Message{{Data: []byte("x"), Addr: k.to(b)}, {Addr: k.to(b)}})
	if err != nil {
		isErrno(t, syscall.EINVAL, err)
	}
}

// A receiver that does not receive makes the sender wait, where nothing may be lost.
func dgramFull(t *testing.T, k Dgrams) {
	if !k.Waits {
		return
	}
	a, b := k.Pair(t)
	var blocked *tsocket.Request[int]
	var sent []byte
	for blocked == nil {
		p := []byte{byte(len(sent))}
		w := a.SendToSend(background, p, k.to(b))
		sent = append(sent, p...)
		if within(50*time.Millisecond, w) {
			require.NoError(t, last(w.Result()))
			continue
		}
		// Then it waits for room; on a slow machine it may have been about to go, and so may this one.
		x := a.SendToSend(background, []byte("x"), k.to(b))
		if !within(50*time.Millisecond, x) && x.Cancel() {
			continue
		}
		if _, err := x.Wait(soon(t)); err == nil {
			sent = append(sent, 'x')
		} else {
			isErrno(t, syscall.EBUSY, err)
			blocked = w
		}
	}
	for _, want := range sent {
		got, err := b.RecvFromSend(background).Wait(soon(t))
		require.NoError(t, err)
		require.Equal(t, []byte{want}, got.Data)
	}
	_, err := blocked.Wait(soon(t))
	require.NoError(t, err)
}
