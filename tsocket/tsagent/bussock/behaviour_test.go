package bussock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

func TestAddr(t *testing.T) {
	a := bussock.Addr(0x0102a0ff, 7000)
	assert.Equal(t, "[fd63:6e62:7573::102:a0ff]:7000", a.AddrPort().String())
	port, number, ok := bussock.ParseAddr(a)
	assert.True(t, ok)
	assert.Equal(t, uint32(0x0102a0ff), port)
	assert.Equal(t, uint16(7000), number)
	for _, other := range []string{"[::1]:7000", "127.0.0.1:7000", "[fd63:6e62:7573:1::1]:7000", "[::ffff:1.2.3.4]:5"} {
		b, err := tsocket.ParseHostPort("ip", other, 0)
		require.NoError(t, err)
		_, _, ok := bussock.ParseAddr(b)
		assert.False(t, ok, other)
	}
	_, _, ok = bussock.ParseAddr(tsocket.Addr{})
	assert.False(t, ok)
}

// A reader that stalls stops its own stream only, and costs no more memory than its window.
func TestReaderThatStalls(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			n, m := node(t, x, nil), node(t, y, &bussock.Config{Window: 8 << 10})
			l, err := m.Listen(soon(t), listenID, nil)
			require.NoError(t, err)
			const stalled = 300 // far more together than the bus has room for
			var last *tsocket.Stream
			var sent int64 // what a millisecond was enough for
			for range stalled {
				s, err := n.Dial(soon(t), listenID)
				require.NoError(t, err)
				defer s.Close()
				last, err = l.Accept(soon(t))
				require.NoError(t, err)
				defer last.Close()
				ctx, cancel := context.WithTimeout(soon(t), time.Millisecond)
				k, err := s.Writev(ctx, make([]byte, 1<<20))
				cancel()
				require.ErrorIs(t, err, tsocket.ErrTimeout)
				require.LessOrEqual(t, k, int64(8<<10))
				sent = k
			}
			waitFor(t, "all of it is there", func() bool { k, err := last.PendingBytes(); require.NoError(t, err); return int64(k) == sent })
			a, err := n.Dial(soon(t), listenID)
			require.NoError(t, err)
			defer a.Close()
			b, err := l.Accept(soon(t))
			require.NoError(t, err)
			defer b.Close()
			w := a.WritevSend(soon(t), make([]byte, 1<<20))
			k, err := b.Readv(soon(t), make([]byte, 1<<20))
			require.NoError(t, err)
			assert.EqualValues(t, 1<<20, k)
			_, err = w.Wait(soon(t))
			require.NoError(t, err)
		})
	}
}

func TestBacklog(t *testing.T) {
	n := node(t, bus(t), &bussock.Config{Sockets: 8})
	l, err := n.Listen(soon(t), listenID, &bussock.ListenConfig{Name: "backlog", Backlog: 2})
	require.NoError(t, err)
	_, err = n.Listen(soon(t), listenID, nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	var streams []*tsocket.Stream
	for range 2 {
		s, err := n.Dial(soon(t), listenID)
		require.NoError(t, err)
		streams = append(streams, s)
	}
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorContains(t, err, "2 connections wait")
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	streams = append(streams, s)
	s, err = n.Dial(soon(t), listenID)
	require.NoError(t, err)
	streams = append(streams, s)

	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "idempotent")
	_, err = streams[1].Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "nobody has accepted it")
	_, err = l.Accept(soon(t))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.ErrorIs(t, err, connector.ErrNoID)
	for _, s := range streams {
		require.NoError(t, s.Close())
	}
	waitFor(t, "no streams", func() bool { return n.Stats().Streams == 0 })

	_, err = n.Listen(soon(t), listenID, nil)
	require.NoError(t, err, "the id is free again")
	for err == nil {
		_, err = n.Dial(soon(t), listenID)
	}
	require.ErrorIs(t, err, syscall.EMFILE)
}

func TestAllow(t *testing.T) {
	n := node(t, bus(t), nil)
	refusal := errors.New("not on Sundays")
	l, err := n.Listen(soon(t), listenID, &bussock.ListenConfig{Allow: func(from connector.From) error {
		assert.EqualValues(t, os.Getuid(), from.Cred.UID)
		return refusal
	}})
	require.NoError(t, err)
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.EACCES)
	require.ErrorContains(t, err, "not on Sundays")
	refusal = syscall.EBUSY
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.NoError(t, l.Close())
}

// Who gives up connecting leaves nothing behind, neither here nor there.
func TestConnectIsGivenUp(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	asked := make(chan *connector.Delivery, 1)
	require.NoError(t, b.AddCallback(soon(t), listenID, "slow", connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		asked <- d.Detach()
	})))
	ctx, cancel := context.WithCancel(soon(t))
	r := n.DialSend(ctx, listenID)
	<-asked
	cancel()
	_, err := r.Wait(soon(t))
	require.ErrorIs(t, err, tsocket.ErrCanceled)
	d := <-asked
	assert.Equal(t, uint16(opCancel), uint16(d.Msg.Data[0]))
	assert.Zero(t, n.Stats().Streams)

	ctx, cancel = context.WithCancel(soon(t))
	dialed := make(chan error, 1)
	go func() {
		_, err := n.Dial(expiring{ctx}, listenID)
		dialed <- err
	}()
	<-asked
	cancel()
	err = <-dialed
	require.ErrorIs(t, err, tsocket.ErrTimeout)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-asked
}

// expiring is a context whose deadline passes when it is cancelled.
type expiring struct{ context.Context }

func (c expiring) Err() error {
	if c.Context.Err() == nil {
		return nil
	}
	return context.DeadlineExceeded
}

func TestDatagramsThatFindNoRoom(t *testing.T) {
	n := node(t, bus(t), nil)
	from, err := n.Dgram(nil)
	require.NoError(t, err)
	to, err := n.Dgram(&bussock.DgramConfig{Number: 9, ReceiveBuffer: 10_000})
	require.NoError(t, err)
	_, err = n.Dgram(&bussock.DgramConfig{Number: 9})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	const sent = 50
	msgs := make([]tsocket.Message, sent)
	for i := range msgs {
		msgs[i] = tsocket.Message{Data: bytes.Repeat([]byte{byte(i)}, 1000), Addr: to.LocalAddr()}
	}
	k, err := from.SendBatch(soon(t), msgs)
	require.NoError(t, err)
	require.Equal(t, sent, k)
	marker := bussock.Addr(n.Port(), 10)
	last, err := n.Dgram(&bussock.DgramConfig{Number: 10})
	require.NoError(t, err)
	_, err = from.SendTo(soon(t), []byte("x"), marker)
	require.NoError(t, err)
	_, _, err = last.RecvFrom(soon(t), make([]byte, 1))
	require.NoError(t, err)

	got := 0
	for {
		b := make([]byte, 1000)
		_, _, err := to.TryRecvFrom(b)
		if err != nil {
			require.ErrorIs(t, err, tsocket.ErrAgain)
			break
		}
		require.Equal(t, msgs[got].Data, b)
		got++
	}
	st, ok := bussock.DgramStatsOf(to)
	require.True(t, ok)
	assert.EqualValues(t, sent, uint64(got)+st.Overflow, "each has come or was counted")
	assert.Positive(t, got)
	assert.Positive(t, st.Overflow)
}

// Small datagrams that wait take not much more memory than they have bytes, each comes, and the memory is free then.
func TestSmallDatagramsThatWait(t *testing.T) {
	n := node(t, bus(t), nil)
	from, err := n.Dgram(&bussock.DgramConfig{Wait: true})
	require.NoError(t, err)
	to, err := n.Dgram(nil)
	require.NoError(t, err)
	last, err := n.Dgram(nil)
	require.NoError(t, err)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const count = 5000
	size := func(i int) int { return 1 + i%40 }
	for range 2 {
		for i := range count {
			_, err := from.SendTo(soon(t), bytes.Repeat([]byte{byte(i)}, size(i)), to.LocalAddr())
			require.NoError(t, err)
		}
		_, err = from.SendTo(soon(t), []byte("x"), last.LocalAddr())
		require.NoError(t, err)
		_, _, err = last.RecvFrom(soon(t), make([]byte, 1))
		require.NoError(t, err)
		require.Less(t, heap()-before, int64(16<<20), "a chunk each would be 80 MiB")
		for i := range count {
			b := make([]byte, 100)
			k, _, err := to.TryRecvFrom(b)
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat([]byte{byte(i)}, size(i)), b[:k])
		}
	}
	st, _ := bussock.DgramStatsOf(to)
	require.Zero(t, st.Overflow)
}

// What the bus drops on the way is counted too.
func TestDatagramsThatTheBusDrops(t *testing.T) {
	hub := loopback.New(&loopback.Config{QueueMessages: 8})
	b := hub.Open()
	t.Cleanup(func() { _ = b.Close() })
	n := node(t, b, nil)
	d, err := n.Dgram(&bussock.DgramConfig{Number: 9})
	require.NoError(t, err)
	r := newRaw(t, b)
	waitFor(t, "a loss", func() bool {
		m := connector.Message{ID: cbid.BusSock, Seq: 7, Data: frame(opDgrams, 0, 9, 0, 1, 0, 'x')}
		for range 100 {
			require.NoError(t, r.ep.Post(soon(t), m, connector.Dest{Port: n.Port(), Full: connector.FullDrop}))
		}
		st, _ := bussock.DgramStatsOf(d)
		return st.Lost > 0
	})
	assert.Positive(t, n.Stats().Lost)
}

func TestNoticesOfPeersThatAreGone(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			n, m := node(t, x, nil), node(t, y, nil)
			d, err := n.Dgram(nil)
			require.NoError(t, err)
			gone := bussock.Addr(m.Port(), 9)
			require.NoError(t, m.Close())
			_, err = d.SendTo(soon(t), []byte("x"), gone)
			require.NoError(t, err)
			require.NoError(t, d.SetNotices(true))
			_, err = d.SendTo(soon(t), []byte("x"), gone)
			require.NoError(t, err)
			var notice *tsocket.Notice
			_, _, err = d.RecvFrom(soon(t), make([]byte, 1))
			require.ErrorAs(t, err, &notice)
			assert.Equal(t, syscall.ECONNREFUSED, notice.Errno)
			assert.Equal(t, gone, notice.Dst)
		})
	}
}

func TestPublish(t *testing.T) {
	b := bus(t)
	n, m := node(t, b, nil), node(t, b, nil)
	d, err := n.Dgram(&bussock.DgramConfig{Number: 7000})
	require.NoError(t, err)
	_, err = m.Lookup(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	stop, err := n.Publish(soon(t), listenID, "d", d)
	require.NoError(t, err)
	_, err = n.Publish(soon(t), listenID, "d", d)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = m.Publish(soon(t), dialedID, "d", d)
	require.ErrorIs(t, err, syscall.EINVAL, "a socket of another node")
	at, err := m.Lookup(soon(t), listenID)
	require.NoError(t, err)
	assert.Equal(t, d.LocalAddr(), at)
	_, err = m.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.EOPNOTSUPP)
	require.NoError(t, stop())
	require.NoError(t, stop())
	_, err = m.Lookup(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = n.Publish(soon(t), listenID, "d", d)
	require.NoError(t, err)
	require.NoError(t, n.Close())
	_, err = m.Lookup(soon(t), listenID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "the node takes its names with it")
}

func TestHTTP(t *testing.T) {
	b := bus(t)
	n, m := node(t, b, nil), node(t, b, nil)
	l, err := n.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	srv := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(bussock.AsNetListener(l)) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		s, err := m.Dial(ctx, listenID)
		if err != nil {
			return nil, err
		}
		return tsocket.AsNetConn(s), nil
	}}
	c := &http.Client{Transport: tr}
	for i := range 20 {
		body := bytes.Repeat([]byte(fmt.Sprint(i)), i*20_000)
		r, err := c.Post("http://x/", "text/plain", bytes.NewReader(body))
		require.NoError(t, err)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body, got))
		_ = r.Body.Close()
	}
	tr.CloseIdleConnections()
	require.NoError(t, srv.Shutdown(soon(t)))
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}

// Two engines on datagram sockets of a bus; the client finds the server by its address.
func TestRxRPC(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			n, m := node(t, x, nil), node(t, y, nil)
			open := func(n *bussock.Node, number uint16) *rxrpc.Endpoint {
				d, err := n.Dgram(&bussock.DgramConfig{Number: number})
				require.NoError(t, err)
				e, err := rxrpc.OpenOn(d, nil)
				require.NoError(t, err)
				t.Cleanup(func() { _ = e.Close() })
				return e
			}
			s := rxrpc.NewServer(open(n, 7000), nil)
			t.Cleanup(func() { _ = s.Close() })
			require.NoError(t, s.Handle(1, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
				b, err := io.ReadAll(call)
				if err == nil {
					_, err = call.Write(b)
				}
				return err
			})))
			e := open(m, 0)
			c := e.Client(s.Endpoint().LocalAddr(), nil)
			for _, size := range []int{0, 1, 1000, 100_000, 4 << 20} {
				want := bytes.Repeat([]byte{7}, size)
				got, err := c.Call(soon(t), 1, want)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got))
			}
			require.NoError(t, e.Wait(soon(t)))
			_, err := e.Client(bussock.Addr(1<<19, 7000).AddrPort(), nil).Call(soon(t), 1, nil)
			require.ErrorIs(t, err, syscall.ECONNREFUSED, "the bus tells that nobody is there")
		})
	}
}

func TestNodeThatIsClosed(t *testing.T) {
	b := bus(t)
	n, m := node(t, b, nil), node(t, b, nil)
	a, c := pair(t, n, m)
	l, err := n.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	d, err := n.Dgram(nil)
	require.NoError(t, err)
	accepting := l.AcceptSend(soon(t))
	_, err = a.Writev(soon(t), []byte("last words"))
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.NoError(t, n.Close())
	read(t, c, "last words")
	_, err = c.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = accepting.Wait(soon(t))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = n.Listen(soon(t), listenID, nil)
	require.Error(t, err)
	_, err = n.Dgram(nil)
	require.ErrorIs(t, err, net.ErrClosed)
	_, _, err = d.RecvFrom(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = a.Writev(soon(t), []byte("x"))
	require.Error(t, err)
}

// A Bus that is closed under its nodes ends their streams: nobody waits for ever.
func TestBusThatIsClosed(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			n, m := node(t, x, nil), node(t, y, nil)
			a, b := pair(t, n, m)
			d, err := n.Dgram(nil)
			require.NoError(t, err)
			reading := a.ReadvSend(soon(t), make([]byte, 1))
			there := b.ReadvSend(soon(t), make([]byte, 1))
			require.NoError(t, x.Close())
			_, err = reading.Wait(soon(t))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, err = there.Wait(soon(t))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, _, err = d.RecvFrom(soon(t), make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			_, err = n.Dial(soon(t), listenID)
			require.Error(t, err)
			require.NoError(t, a.Close())
			_, err = n.Listen(soon(t), listenID, nil)
			require.Error(t, err)
		})
	}
}

// One who has said goodbye is not missed when it is gone.
func TestGoodbyeThenGone(t *testing.T) {
	b := bus(t)
	n, m := node(t, b, nil), node(t, b, nil)
	a, c := pair(t, n, m)
	_, err := c.Writev(soon(t), []byte("bye"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, m.Close())
	read(t, a, "bye")
	_, err = a.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	waitFor(t, "its goodbye", func() bool { _, err := a.PendingBytes(); return errors.Is(err, syscall.EPIPE) })
	_, err = a.Writev(soon(t), []byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
}

func TestDescribe(t *testing.T) {
	for want, data := range map[string][]byte{
		"bussock: stream 70000 to 70001: 3 bytes at 9, end, closed": frame(opData, 3, 70_001, 9, []byte("abc")...),
		"bussock: stream 70000 to 70001: window up to 4096":         frame(opWindow, 0, 70_001, 4096),
		"bussock: stream 70000 to 70001: reset, gone":               frame(opReset, 0, 70_001, 104, []byte("gone")...),
		"bussock: socket 70000 to 9: 2 datagrams, 5 bytes":          frame(opDgrams, 0, 9, 0, 1, 0, 'x', 0, 0),
		"bussock: socket 70000 to 9: malformed batch of 3 bytes":    frame(opDgrams, 0, 9, 0, 2, 0, 'x'),
		"bussock: fence behind port 5":                              frame(opFence, 0, 0, 5),
		"bussock: unknown operation 0x77, 16 bytes":                 frame(0x77, 0, 0, 5),
		"bussock: malformed, 2 bytes":                               {1, 2},
	} {
		got, ok := bussock.Describe(connector.Message{ID: cbid.BusSock, Seq: 70_000, Data: data})
		assert.True(t, ok)
		assert.Equal(t, want, got)
	}
	_, ok := bussock.Describe(connector.Message{ID: listenID, Data: frame(opData, 0, 0, 0)})
	assert.False(t, ok)
}
