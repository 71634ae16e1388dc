package bussock_test

import (
	"context"
	"encoding/binary"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// The operations of docs/agents-protocol.md, as somebody has them who writes messages by hand.
const (
	opConnect, opCancel, opLookup        = 1, 2, 3
	opData, opWindow, opReset            = 0x10, 0x11, 0x12
	opDgrams, opFence                    = 0x20, 0x30
	flagEnd, flagGone                    = 1, 2
	window                        uint64 = 256 << 10
)

func frame(op, flags uint16, sock uint32, arg uint64, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, op)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, sock)
	return append(binary.LittleEndian.AppendUint64(b, arg), body...)
}

// raw is an endpoint without a node.
type raw struct {
	t  testing.TB
	ep connector.Endpoint
}

func newRaw(t testing.TB, b connector.Bus) raw {
	ep, err := b.Endpoint(soon(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = ep.Close() })
	return raw{t, ep}
}

// post sends a message of the socket with number own to a node.
func (r raw) post(to *bussock.Node, own uint32, data []byte) {
	r.t.Helper()
	require.NoError(r.t, r.ep.Post(soon(r.t), connector.Message{ID: cbid.BusSock, Seq: own, Data: data}, connector.Dest{Port: to.Port()}))
}

// connect opens a stream with a number of its own, and returns that of the other end.
func (r raw) connect(to *bussock.Node, own uint32) uint32 {
	r.t.Helper()
	theirs := r.ask(to, own)
	r.post(to, own, frame(opWindow, 0, theirs, window))
	return theirs
}

// ask is connect that does not say yet that it knows of the stream.
func (r raw) ask(to *bussock.Node, own uint32) uint32 {
	r.t.Helper()
	ev, err := r.ep.Call(soon(r.t), connector.Message{ID: listenID, Data: frame(opConnect, 0, own, 1)}, connector.Dest{})
	require.NoError(r.t, err)
	d := ev.Msg.Data
	require.Len(r.t, d, 24, "%q", d)
	require.Equal(r.t, uint16(0x8001), binary.LittleEndian.Uint16(d))
	require.Zero(r.t, binary.LittleEndian.Uint64(d[8:]))
	require.Equal(r.t, to.Port(), binary.LittleEndian.Uint32(d[16:]))
	require.EqualValues(r.t, window, binary.LittleEndian.Uint32(d[20:]))
	return binary.LittleEndian.Uint32(d[4:])
}

// reset waits until the stream with that number is reset, and returns the errno.
func (r raw) reset(own uint32) syscall.Errno {
	r.t.Helper()
	for {
		ev, err := r.ep.Recv(soon(r.t))
		require.NoError(r.t, err)
		if d := ev.Msg.Data; ev.Kind == connector.EventMessage && binary.LittleEndian.Uint16(d) == opReset && binary.LittleEndian.Uint32(d[4:]) == own {
			return syscall.Errno(binary.LittleEndian.Uint64(d[8:]))
		}
	}
}

// read requires that a stream has these bytes next.
func read(t testing.TB, s *tsocket.Stream, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := s.Readv(soon(t), got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

// Who connects and says nothing more does not keep its place in the backlog.
func TestConnectionsThatSayNothing(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	l, err := n.Listen(soon(t), listenID, &bussock.ListenConfig{Backlog: 2, Handshake: 10 * time.Millisecond})
	require.NoError(t, err)
	r := newRaw(t, b)
	for own := range uint32(10) {
		waitFor(t, "a place", func() bool {
			ev, err := r.ep.Call(soon(t), connector.Message{ID: listenID, Data: frame(opConnect, 0, 70_000+own, 1)}, connector.Dest{})
			require.NoError(t, err)
			return binary.LittleEndian.Uint64(ev.Msg.Data[8:]) == 0
		})
	}
	waitFor(t, "nothing", func() bool { return n.Stats().Streams == 0 && n.Stats().Peers == 0 })
	r.post(n, 70_009, frame(opWindow, 0, 65_546, window))
	require.Equal(t, syscall.EPIPE, r.reset(70_009), "it comes too late")
	waitFor(t, "one that is quick enough", func() bool {
		s, err := n.Dial(soon(t), listenID)
		if err == nil {
			defer s.Close()
		} else {
			require.ErrorIs(t, err, syscall.ECONNREFUSED, "those of before wait to be accepted")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		a, err := l.Accept(ctx)
		return err == nil && a.Close() == nil
	})
}

// Who connects, and hears of it when the listener is closed already, is told that, but is not waited for for ever.
func TestConnectionsThatTheListenerDoesNotOutlive(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	closed := func(h time.Duration, own ...uint32) (r raw, theirs []uint32) {
		l, err := n.Listen(soon(t), listenID, &bussock.ListenConfig{Handshake: h})
		require.NoError(t, err)
		r = newRaw(t, b)
		for _, o := range own {
			theirs = append(theirs, r.ask(n, o))
		}
		require.NoError(t, l.Close())
		return r, theirs
	}
	r, theirs := closed(patience, 70_000, 70_001, 70_002)
	require.Equal(t, 3, n.Stats().Streams)
	r.post(n, 70_001, frame(opWindow, 0, theirs[1], window))
	require.Equal(t, syscall.ECONNRESET, r.reset(70_001))
	r.post(n, 70_000, frame(opReset, 0, theirs[0], uint64(syscall.EPIPE)))
	waitFor(t, "the one that has said nothing", func() bool { return n.Stats().Streams == 1 })
	require.NoError(t, r.ep.Close())
	waitFor(t, "nothing", func() bool { return n.Stats().Streams == 0 && n.Stats().Peers == 0 })

	r, theirs = closed(time.Millisecond, 70_000)
	waitFor(t, "nothing", func() bool { return n.Stats().Streams == 0 && n.Stats().Peers == 0 })
	r.post(n, 70_000, frame(opWindow, 0, theirs[0], window))
	require.Equal(t, syscall.EPIPE, r.reset(70_000), "it comes too late")
}

// A peer that breaks the rules loses that stream, at once, and nothing else.
func TestHostileStreams(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	l, err := n.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	r := newRaw(t, b)
	const good = 70_000
	goodTheirs := r.connect(n, good)
	fine, err := l.Accept(soon(t))
	require.NoError(t, err)
	sent := uint64(0)
	for i, c := range []struct {
		what   string
		frames func(theirs uint32) [][]byte
	}{
		{"data beyond the window", func(s uint32) [][]byte {
			var all [][]byte
			for at := uint64(3); at < window+16_000; at += 16_000 {
				all = append(all, frame(opData, 0, s, at, make([]byte, 16_000)...))
			}
			return all
		}},
		{"data that leave something out", func(s uint32) [][]byte { return [][]byte{frame(opData, 0, s, 4, 'x')} }},
		{"data that come again", func(s uint32) [][]byte { return [][]byte{frame(opData, 0, s, 0, 'x')} }},
		{"data at the end of numbers", func(s uint32) [][]byte { return [][]byte{frame(opData, 0, s, 1<<64-1, 'x')} }},
		{"data after the end", func(s uint32) [][]byte {
			return [][]byte{frame(opData, flagEnd, s, 3), frame(opData, 0, s, 3, 'x')}
		}},
		{"the end twice", func(s uint32) [][]byte {
			return [][]byte{frame(opData, flagEnd, s, 3), frame(opData, flagEnd, s, 3)}
		}},
		{"data without data", func(s uint32) [][]byte { return [][]byte{frame(opData, 0, s, 3)} }},
		{"gone without end", func(s uint32) [][]byte { return [][]byte{frame(opData, flagGone, s, 3)} }},
		{"unknown flags", func(s uint32) [][]byte { return [][]byte{frame(opData, 0x8000, s, 3, 'x')} }},
		{"a window that shrinks", func(s uint32) [][]byte { return [][]byte{frame(opWindow, 0, s, window-1)} }},
		{"a window beyond all bounds", func(s uint32) [][]byte { return [][]byte{frame(opWindow, 0, s, 1<<63)} }},
		{"a window with data", func(s uint32) [][]byte { return [][]byte{frame(opWindow, 0, s, window, 'x')} }},
	} {
		bad := uint32(good + 1 + i)
		before := n.Stats().Violations
		theirs := r.connect(n, bad)
		r.post(n, bad, frame(opData, 0, theirs, 0, []byte("abc")...))
		for _, f := range c.frames(theirs) {
			r.post(n, bad, f)
		}
		require.Equal(t, syscall.EPROTO, r.reset(bad), c.what)
		assert.Equal(t, before+1, n.Stats().Violations, c.what)
		s, err := l.Accept(soon(t))
		require.NoError(t, err)
		read(t, s, "abc")
		_, err = io.Copy(io.Discard, tsocket.AsNetConn(s))
		if tsocket.Errno(err) != syscall.EPROTO {
			require.NoError(t, err, c.what) // the end had come before
		}
		_, err = s.Writev(soon(t), []byte("x"))
		require.ErrorIs(t, err, syscall.EPROTO, c.what)
		require.ErrorContains(t, err, "broke the protocol", c.what)
		require.NoError(t, s.Close())

		r.post(n, good, frame(opData, 0, goodTheirs, sent, []byte("fine")...))
		sent += 4
		read(t, fine, "fine")
	}
	require.NoError(t, fine.Close())
}

// Messages that are not of the peer, or of nothing, change nothing.
func TestForeignMessages(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	l, err := n.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	r, other := newRaw(t, b), newRaw(t, b)
	const own = 70_000
	theirs := r.connect(n, own)
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer s.Close()
	for _, f := range [][]byte{
		frame(opData, 0, theirs, 0, []byte("forged")...), frame(opData, flagEnd|flagGone, theirs, 0),
		frame(opReset, 0, theirs, uint64(syscall.EIO)), frame(opWindow, 0, theirs, 1<<20),
		frame(opFence, 0, 0, uint64(r.ep.Port())), frame(0x1234, 0, theirs, 0),
		{},
		{1, 2, 3},
		frame(opData, 0, 0, 0),
		frame(opData, 0, 1<<32-1, 0, 'x'), frame(opDgrams, 0, theirs, 0, 1, 0, 'x'), frame(opDgrams, 0, 9, 0, 1, 0, 'x'),
	} {
		other.post(n, own, f)
		other.post(n, own+1, f)
	}
	// And of the peer, but of no stream that it has.
	r.post(n, own+1, frame(opData, 0, theirs, 0, []byte("forged")...))
	require.Equal(t, syscall.EPIPE, r.reset(own+1))
	r.post(n, own, frame(opData, 0, theirs, 0, []byte("genuine")...))
	read(t, s, "genuine")
	st := n.Stats()
	assert.Positive(t, st.Strays)
	assert.Positive(t, st.Foreign)
	assert.Zero(t, st.Violations)
	assert.Equal(t, 1, st.Streams)
}

func TestHostileRequests(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	l, err := n.Listen(soon(t), listenID, &bussock.ListenConfig{Backlog: 2})
	require.NoError(t, err)
	r := newRaw(t, b)
	ask := func(id cbid.ID, data []byte) syscall.Errno {
		ev, err := r.ep.Call(soon(t), connector.Message{ID: id, Data: data}, connector.Dest{})
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(ev.Msg.Data), 16)
		return syscall.Errno(binary.LittleEndian.Uint64(ev.Msg.Data[8:]))
	}
	assert.Equal(t, syscall.EINVAL, ask(listenID, nil))
	assert.Equal(t, syscall.EINVAL, ask(listenID, frame(opConnect, 0, 70_000, 1, 'x')))
	assert.Equal(t, syscall.EINVAL, ask(listenID, frame(opConnect, 0, 9, 1)), "a number of a datagram socket")
	assert.Equal(t, syscall.EPROTONOSUPPORT, ask(listenID, frame(opConnect, 0, 70_000, 2)))
	assert.Equal(t, syscall.EOPNOTSUPP, ask(listenID, frame(opLookup, 0, 0, 1)))
	assert.Equal(t, syscall.EOPNOTSUPP, ask(listenID, frame(99, 0, 0, 1)))
	// Half-open connections take places in the backlog.
	assert.Zero(t, ask(listenID, frame(opConnect, 0, 70_000, 1)))
	assert.Equal(t, syscall.EALREADY, ask(listenID, frame(opConnect, 0, 70_000, 1)))
	assert.Zero(t, ask(listenID, frame(opConnect, 0, 70_001, 1)))
	assert.Equal(t, syscall.ECONNREFUSED, ask(listenID, frame(opConnect, 0, 70_002, 1)))
	// Who gives up gives them back.
	require.NoError(t, r.ep.Send(soon(t), connector.Message{ID: listenID, Data: frame(opCancel, 0, 70_000, 0)}, connector.Dest{}))
	assert.Zero(t, ask(listenID, frame(opConnect, 0, 70_002, 1)))
	// And so does who is gone.
	require.NoError(t, r.ep.Close())
	waitFor(t, "no stream", func() bool { return n.Stats().Streams == 0 && n.Stats().Peers == 0 })
	c, err := n.Dial(soon(t), listenID)
	require.NoError(t, err)
	s, err := l.Accept(soon(t))
	require.NoError(t, err, "the one that is alive")
	_, _ = c.Close(), s.Close()
}

// What answers a connect and is no listener.
func TestHostileListeners(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	answers := [][]byte{
		{},
		[]byte("hello"), frame(0x8001, 0, 0, 0), frame(0x8001, 0, 70_000, 0, 1, 0, 0, 0),
		frame(0x8001, 0, 70_000, 0, 0, 0, 0, 0, 0, 0, 0, 0), frame(0x8001, 0, 70_000, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff),
		frame(0x8001, 0, 0, 1<<40), frame(0x8002, 0, 70_000, 0, 1, 0, 0, 0, 0, 0, 0, 0),
	}
	next := 0
	require.NoError(t, b.AddCallback(soon(t), listenID, "x", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, answers[next])
	})))
	for next = range answers {
		_, err := n.Dial(soon(t), listenID)
		require.ErrorIs(t, err, syscall.EPROTO, "%q", answers[next])
	}
	answers = [][]byte{frame(0x8001, 0, 0, uint64(syscall.EACCES), []byte("no\x1b[1m\xff")...)}
	next = 0
	_, err := n.Dial(soon(t), listenID)
	require.ErrorIs(t, err, syscall.EACCES)
	assert.ErrorContains(t, err, "no?[1m?")
	assert.Zero(t, n.Stats().Streams)
}

// A batch whose lengths lie is thrown away whole, and counted.
func TestHostileDatagrams(t *testing.T) {
	b := bus(t)
	n := node(t, b, nil)
	d, err := n.Dgram(&bussock.DgramConfig{Number: 9})
	require.NoError(t, err)
	r := newRaw(t, b)
	for _, body := range [][]byte{{}, {1}, {1, 0}, {2, 0, 'x'}, {1, 0, 'x', 0}, {1, 0, 'x', 0xff, 0xff, 'y'}} {
		r.post(n, 7, frame(opDgrams, 0, 9, 0, body...))
	}
	r.post(n, 7, frame(opDgrams, 0, 9, 0, 1, 0, 'x', 0, 0, 2, 0, 'y', 'z'))
	msgs := make([]tsocket.Message, 8)
	k, err := d.RecvBatch(soon(t), msgs)
	require.NoError(t, err)
	require.Equal(t, 3, k, "one without data is one")
	assert.Equal(t, "x", string(msgs[0].Data))
	assert.Empty(t, msgs[1].Data)
	assert.Equal(t, "yz", string(msgs[2].Data))
	assert.Equal(t, bussock.Addr(r.ep.Port(), 7), msgs[2].Addr)
	st, ok := bussock.DgramStatsOf(d)
	require.True(t, ok)
	assert.EqualValues(t, 6, st.Invalid)
}
