package tsocket_test

import (
	"bytes"
	"context"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// plainDgram hides all that a socket can do besides the least; tryDgram leaves
// trying.
type (
	plainDgram struct{ tsocket.DgramOps }
	tryDgram   struct{ tsocket.TryDgramOps }
)

// batchSockets are the ways to batches, with the same outcome.
var batchSockets = []struct {
	name string
	wrap func(t testing.TB, d *tsocket.Dgram) *tsocket.Dgram
}{
	{"batch", func(_ testing.TB, d *tsocket.Dgram) *tsocket.Dgram { return d }},
	{"gro", func(_ testing.TB, d *tsocket.Dgram) *tsocket.Dgram { d.EnableGRO(); return d }},
	{"try", func(_ testing.TB, d *tsocket.Dgram) *tsocket.Dgram {
		return tsocket.NewDgram(tryDgram{d.Ops().(tsocket.TryDgramOps)})
	}},
	{"plain", func(_ testing.TB, d *tsocket.Dgram) *tsocket.Dgram { return tsocket.NewDgram(plainDgram{d.Ops()}) }},
}

type (
	sendBatch = func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error)
	recvBatch = func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error)
)

func eachBatch(t *testing.T, test func(t *testing.T, local tsocket.Addr, wrap func(testing.TB, *tsocket.Dgram) *tsocket.Dgram, send sendBatch, receive recvBatch)) {
	v6 := tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0))
	for _, local := range []tsocket.Addr{loopback4(t), v6} {
		for _, s := range batchSockets {
			for _, face := range []string{"blocking", "request"} {
				send := func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error) { return d.SendBatch(soon(t), msgs) }
				receive := func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error) { return d.RecvBatch(soon(t), msgs) }
				if face == "request" {
					send = func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error) {
						return d.SendBatchSend(background, msgs).Wait(soon(t))
					}
					receive = func(d *tsocket.Dgram, msgs []tsocket.Message) (int, error) {
						return d.RecvBatchSend(background, msgs).Wait(soon(t))
					}
				}
				t.Run(fmt.Sprintf("%v/%s/%s", local.IP(), s.name, face), func(t *testing.T) { test(t, local, s.wrap, send, receive) })
			}
		}
	}
}

// TestBatchOutcome sends datagrams that can and cannot go together, and gets
// each of them as it was, by every way.
func TestBatchOutcome(t *testing.T) {
	eachBatch(t, func(t *testing.T, local tsocket.Addr, wrap func(testing.TB, *tsocket.Dgram) *tsocket.Dgram, send sendBatch, receive recvBatch) {
		rd := udp(t, local, tsocket.Addr{})
		require.NoError(t, rd.SetBuffers(4<<20, 0))
		other := udp(t, local, tsocket.Addr{})
		in := wrap(t, rd)
		wr := udp(t, local, tsocket.Addr{})
		out := wrap(t, wr)
		to, from := rd.LocalAddr(), wr.LocalAddr()

		var want [][]byte
		var msgs []tsocket.Message
		add := func(n int, to tsocket.Addr) {
			b := bytes.Repeat([]byte{byte(len(want) + 1)}, n)
			if to == rd.LocalAddr() {
				want = append(want, b)
			}
			msgs = append(msgs, tsocket.Message{Data: b, Addr: to})
		}
		for range 70 { // more than one piece
			add(100, to)
		}
		add(50, to) // the last of its piece
		add(100, to)
		add(100, other.LocalAddr())
		add(100, to)
		add(20_000, to) // cannot be part of a piece on a path of 1500, and hardly here
		add(20_000, to)
		add(65_000, to)
		for i := range 9 {
			add(i+1, to)
		}
		n, err := send(out, msgs)
		require.NoError(t, err)
		require.Equal(t, len(msgs), n)

		batch := make([]tsocket.Message, 16)
		for i := range batch { // no room, a little, enough for most, for all
			batch[i].Buf = make([]byte, []int{0, 10, 2000, 1 << 16}[i%4])
		}
		for len(want) > 0 {
			n, err := receive(in, batch)
			require.NoError(t, err)
			require.Positive(t, n)
			for _, m := range batch[:n] {
				require.Equal(t, from, m.Addr)
				require.Equal(t, want[0], m.Data)
				if len(m.Data) <= len(m.Buf) {
					require.Same(t, &m.Buf[0], &m.Data[0], "in Buf where it fits")
				}
				want = want[1:]
			}
		}
	})
}

func TestBatchErrors(t *testing.T) {
	eachBatch(t, func(t *testing.T, local tsocket.Addr, wrap func(testing.TB, *tsocket.Dgram) *tsocket.Dgram, send sendBatch, receive recvBatch) {
		rd := udp(t, local, tsocket.Addr{})
		in := wrap(t, rd)
		d := wrap(t, udp(t, local, tsocket.Addr{}))
		ok := tsocket.Message{Data: []byte("ok"), Addr: rd.LocalAddr()}
		big := tsocket.Message{Data: make([]byte, 65_528), Addr: rd.LocalAddr()}
		none := tsocket.Message{Addr: rd.LocalAddr()}
		nowhere := tsocket.Message{Data: []byte("x")}
		for _, c := range []struct {
			msgs []tsocket.Message
			n    int
			want syscall.Errno
		}{
			{nil, 0, syscall.EINVAL},
			{[]tsocket.Message{none}, 0, syscall.EINVAL},
			{[]tsocket.Message{ok, ok, none, ok}, 2, syscall.EINVAL},
			{[]tsocket.Message{ok, big, ok}, 1, syscall.EMSGSIZE},
			{[]tsocket.Message{big}, 0, syscall.EMSGSIZE},
			{[]tsocket.Message{ok, ok, ok, nowhere}, 3, syscall.EDESTADDRREQ},
		} {
			n, err := send(d, c.msgs)
			isErrno(t, c.want, err)
			assert.Equal(t, c.n, n)
		}
		msgs := make([]tsocket.Message, 10)
		for got := 0; got < 6; {
			n, err := receive(in, msgs)
			require.NoError(t, err)
			for _, m := range msgs[:n] {
				assert.Equal(t, "ok", string(m.Data))
			}
			got += n
		}
		_, err := receive(in, nil)
		isErrno(t, syscall.EINVAL, err)

		// One kind of receive goes on where another one was.
		_, err = send(d, []tsocket.Message{ok, ok, ok, ok})
		require.NoError(t, err)
		n, err := receive(in, msgs[:1])
		require.NoError(t, err)
		require.Equal(t, 1, n)
		_, _, err = in.RecvFrom(soon(t), make([]byte, 1))
		isErrno(t, syscall.EMSGSIZE, err)
		n, err = receive(in, msgs[:1])
		require.NoError(t, err)
		assert.Equal(t, "ok", string(msgs[0].Data), "the one that was kept")
		require.Equal(t, 1, n)
		v, err := in.RecvFromSend(background).Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "ok", string(v.Data))
		got, _ := recv(t, in)
		assert.Equal(t, "ok", got)

		sendEmpty(t, rd.LocalAddr())
		n, err = receive(in, msgs)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		assert.Empty(t, msgs[0].Data)
		assert.False(t, msgs[0].Addr.IsZero())
	})
}

// TestBatchWaits: cancelled, closed, refused while a batch waits.
func TestBatchWaits(t *testing.T) {
	eachBatch(t, func(t *testing.T, local tsocket.Addr, wrap func(testing.TB, *tsocket.Dgram) *tsocket.Dgram, _ sendBatch, _ recvBatch) {
		rd := udp(t, local, tsocket.Addr{})
		d := wrap(t, rd)
		msgs := make([]tsocket.Message, 4)
		r := d.RecvBatchSend(background, msgs)
		_, err := d.RecvBatch(background, msgs)
		isErrno(t, syscall.EBUSY, err)
		require.True(t, r.Cancel())
		_, err = r.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
		ctx, cancel := context.WithCancel(background)
		done := make(chan error, 1)
		go func() {
			_, err := d.RecvBatch(ctx, msgs)
			done <- err
		}()
		cancel()
		isErrno(t, syscall.ECANCELED, <-done)

		// An error is that of one receive.
		dead := udp(t, local, tsocket.Addr{})
		to := dead.LocalAddr()
		require.NoError(t, dead.Close())
		conn := udp(t, local, to)
		c := wrap(t, conn)
		_, err = c.SendTo(background, []byte("x"), tsocket.Addr{})
		require.NoError(t, err)
		_, err = c.RecvBatch(soon(t), msgs)
		isErrno(t, syscall.ECONNREFUSED, err)

		r = d.RecvBatchSend(background, msgs)
		require.NoError(t, d.Close())
		_, err = r.Wait(soon(t))
		assert.ErrorIs(t, err, tsocket.ErrClosed)
	})
}

func TestGRO(t *testing.T) {
	onlyLinux(t)
	d := udp(t, loopback4(t), tsocket.Addr{})
	require.True(t, d.EnableGRO())
	r := d.RecvFromSend(background)
	assert.False(t, d.EnableGRO(), "not while a receive is outstanding")
	require.True(t, r.Cancel())

	// A piece of 60 really arrives as one: it is more than a batch of one.
	out := udp(t, loopback4(t), tsocket.Addr{})
	msgs := make([]tsocket.Message, 60)
	for i := range msgs {
		msgs[i] = tsocket.Message{Data: []byte{byte(i), 1, 2}, Addr: d.LocalAddr()}
	}
	_, err := out.SendBatch(background, msgs)
	require.NoError(t, err)
	in := make([]tsocket.Message, 60)
	n, err := d.RecvBatch(soon(t), in)
	require.NoError(t, err)
	assert.Equal(t, 60, n)
	for i, m := range in {
		assert.Equal(t, []byte{byte(i), 1, 2}, m.Data)
	}

	unix, _, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	closeLater(t, unix)
	assert.False(t, unix.EnableGRO())
}
