package tsagent_test

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// raw speaks the protocol by hand, as a client in another language does.
type raw struct {
	t  testing.TB
	ep connector.Endpoint
}

func (s *site) raw(t testing.TB) *raw {
	ep, err := s.bus(t).Endpoint(soon(t))
	require.NoError(t, err)
	return &raw{t, ep}
}

func message(h tsagent.Header, body ...[]byte) connector.Message {
	data := h.Append(nil)
	for _, b := range body {
		data = append(data, b...)
	}
	return connector.Message{ID: cbid.TSocket, Data: data}
}

// call makes a request; its error is the completion's.
func (r *raw) call(ctx context.Context, h tsagent.Header, body ...[]byte) (tsagent.Reply, []byte, error) {
	ev, err := r.ep.Call(ctx, message(h, body...), connector.Dest{})
	if err != nil {
		return tsagent.Reply{}, nil, err
	}
	reply, b, err := tsagent.ParseReply(ev.Msg.Data)
	require.NoError(r.t, err)
	require.Equal(r.t, h.Op, reply.Op)
	return reply, b, reply.Err(b)
}

// must is a call that succeeds.
func (r *raw) must(h tsagent.Header, body ...[]byte) (tsagent.Reply, []byte) {
	r.t.Helper()
	reply, b, err := r.call(soon(r.t), h, body...)
	require.NoError(r.t, err)
	return reply, b
}

// refuse is a call that fails with that errno.
func (r *raw) refuse(want syscall.Errno, h tsagent.Header, body ...[]byte) error {
	r.t.Helper()
	_, _, err := r.call(soon(r.t), h, body...)
	require.ErrorIs(r.t, err, want)
	return err
}

func (r *raw) post(h tsagent.Header, body ...[]byte) {
	r.t.Helper()
	h.Flags |= tsagent.FlagNoReply
	require.NoError(r.t, r.ep.Post(soon(r.t), message(h, body...), connector.Dest{}))
}

// event waits for the next event.
func (r *raw) event() (tsagent.Header, []byte) {
	r.t.Helper()
	for {
		ev, err := r.ep.Recv(soon(r.t))
		require.NoError(r.t, err)
		if ev.Kind == connector.EventMessage {
			h, body, err := tsagent.ParseHeader(ev.Msg.Clone().Data)
			require.NoError(r.t, err)
			return h, body
		}
	}
}

func (r *raw) open(family, kind int) uint32 {
	r.t.Helper()
	reply, _ := r.must(tsagent.Header{Op: tsagent.OpOpen, Arg: uint64(family) | uint64(kind)<<16})
	return reply.Sock
}

// listener opens a listening socket.
func (r *raw) listener(at tsocket.Addr) (sock uint32, addr tsocket.Addr) {
	sock = r.open(familyOf(at), unix.SOCK_STREAM)
	r.must(tsagent.Header{Op: tsagent.OpBind, Sock: sock}, tsagent.AppendAddr(nil, at))
	_, b := r.must(tsagent.Header{Op: tsagent.OpListen, Sock: sock})
	addr, _, err := tsagent.ParseAddr(b)
	require.NoError(r.t, err)
	return sock, addr
}

func familyOf(a tsocket.Addr) int {
	if a.IsUnix() {
		return unix.AF_UNIX
	}
	return unix.AF_INET
}

// connected opens two connected streams.
func (r *raw) connected(at tsocket.Addr) (a, b uint32) {
	l, addr := r.listener(at)
	a = r.open(familyOf(at), unix.SOCK_STREAM)
	r.must(tsagent.Header{Op: tsagent.OpConnect, Sock: a}, tsagent.AppendAddr(nil, addr))
	reply, names := r.must(tsagent.Header{Op: tsagent.OpAccept, Sock: l})
	local, _, err := tsagent.ParseAddr(names)
	require.NoError(r.t, err)
	require.Equal(r.t, addr, local)
	r.must(tsagent.Header{Op: tsagent.OpClose, Sock: l})
	return a, reply.Sock
}

func within(d time.Duration) []byte { return binary.NativeEndian.AppendUint64(nil, uint64(d)) }

// Every operation by requests only, each completed by its reply.
func TestRequests(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		_, b := r.must(tsagent.Header{Op: tsagent.OpHello}, []byte{1, 0, 0, 0})
		require.Len(t, b, 20)
		x, y := r.connected(local4(0))
		reply, _ := r.must(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("hello"))
		require.EqualValues(t, 5, reply.Value)
		_, b = r.must(tsagent.Header{Op: tsagent.OpReadv, Flags: tsagent.FlagAll, Sock: y, Arg: 3})
		require.Equal(t, "hel", string(b))
		reply, _ = r.must(tsagent.Header{Op: tsagent.OpPending, Sock: y})
		require.EqualValues(t, 2, reply.Value)
		_, b = r.must(tsagent.Header{Op: tsagent.OpReadv, Sock: y, Arg: 100})
		require.Equal(t, "lo", string(b))
		_, names := r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: x})
		local, rest, err := tsagent.ParseAddr(names)
		require.NoError(t, err)
		remote, _, err := tsagent.ParseAddr(rest)
		require.NoError(t, err)
		_, names = r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: y})
		require.Equal(t, tsagent.AppendAddr(tsagent.AppendAddr(nil, remote), local), names)

		r.must(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("end"))
		r.must(tsagent.Header{Op: tsagent.OpCloseWrite, Sock: x})
		_, b = r.must(tsagent.Header{Op: tsagent.OpReadv, Flags: tsagent.FlagAll, Sock: y, Arg: 10})
		require.Equal(t, "end", string(b), "less, for the stream ends inside")
		r.refuse(syscall.EPIPE, tsagent.Header{Op: tsagent.OpReadv, Sock: y, Arg: 1})
		r.refuse(syscall.EPIPE, tsagent.Header{Op: tsagent.OpReadv, Sock: y, Arg: 1})
		r.refuse(syscall.ECONNRESET, tsagent.Header{Op: tsagent.OpMonitor, Sock: y})
		r.must(tsagent.Header{Op: tsagent.OpDisconnect, Sock: y})
		r.refuse(syscall.EBADF, tsagent.Header{Op: tsagent.OpGetName, Sock: y})

		u, v := r.open(unix.AF_INET, unix.SOCK_DGRAM), r.open(unix.AF_INET, unix.SOCK_DGRAM)
		_, b = r.must(tsagent.Header{Op: tsagent.OpBind, Sock: u}, tsagent.AppendAddr(nil, local4(0)))
		to, _, err := tsagent.ParseAddr(b)
		require.NoError(t, err)
		var w tsagent.BatchWriter
		for _, text := range []string{"one", "two", "three"} {
			w.Add([]byte(text), to)
		}
		reply, _ = r.must(tsagent.Header{Op: tsagent.OpSendTo, Sock: v}, w.Body())
		require.EqualValues(t, 3, reply.Value)
		for got := 0; got < 3; {
			reply, b = r.must(tsagent.Header{Op: tsagent.OpRecvFrom, Sock: u, Arg: 2})
			msgs, err := tsagent.ParseBatch(nil, b)
			require.NoError(t, err)
			require.Len(t, msgs, int(reply.Value))
			for _, m := range msgs {
				require.Equal(t, []string{"one", "two", "three"}[got], string(m.Data))
				got++
			}
		}
	})
}

// EBUSY for each direction, CANCEL by seq and by operation, deadlines.
func TestOneOperationOfADirection(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		x, y := r.connected(socketPath(t)) // whose buffers do not grow
		read := tsagent.Header{Op: tsagent.OpReadv, Sock: y, Arg: 5, Flags: tsagent.FlagAll}
		// A request that was posted is outstanding when the next one comes; its completion comes as a message.
		begin := func(h tsagent.Header, body ...[]byte) {
			m := message(h, body...)
			m.Seq, m.Ack = 77, 1000
			require.NoError(t, r.ep.Post(soon(t), m, connector.Dest{}))
		}
		outcome := func() (string, error) {
			var m connector.Message
			for { // the event about a write that fails comes before its completion, or behind it
				ev, err := r.ep.Recv(soon(t))
				require.NoError(t, err)
				m = ev.Msg
				h, _, err := tsagent.ParseHeader(m.Data)
				require.NoError(t, err)
				if h.Op != tsagent.EvWriteError {
					break
				}
			}
			require.EqualValues(t, 77, m.Seq)
			require.EqualValues(t, 1001, m.Ack)
			reply, body, err := tsagent.ParseReply(m.Data)
			require.NoError(t, err)
			return string(body), reply.Err(body)
		}
		byOp := tsagent.Header{Op: tsagent.OpCancel, Flags: tsagent.FlagAll, Sock: y, Arg: uint64(tsagent.OpReadv)}
		begin(read)
		r.refuse(syscall.EBUSY, read)
		r.refuse(syscall.EBUSY, tsagent.Header{Op: tsagent.OpWindow, Sock: y, Arg: 1})
		r.must(byOp)
		_, err := outcome()
		require.ErrorIs(t, err, syscall.ECANCELED)
		r.refuse(syscall.ENOENT, byOp)

		begin(read)
		r.must(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("a"))
		require.Eventually(t, func() bool { // it has read that, and waits for more
			reply, _ := r.must(tsagent.Header{Op: tsagent.OpPending, Sock: y})
			return reply.Value == 0
		}, patience, time.Millisecond)
		r.must(tsagent.Header{Op: tsagent.OpCancel, Sock: y, Arg: 77})
		got, err := outcome()
		require.NoError(t, err)
		require.Equal(t, "a", got, "what it has read is its result")

		read.Flags |= tsagent.FlagDeadline
		r.refuse(syscall.ETIMEDOUT, read, within(time.Millisecond))
		r.refuse(syscall.EINVAL, read)
		r.refuse(syscall.EINVAL, read, within(-1))

		// A stream that nobody reads fills up. What there is room for is written before the next request is looked at,
		// so that a write without data is refused for one of two reasons.
		write := tsagent.Header{Op: tsagent.OpWritev, Sock: x}
		for {
			begin(write, make([]byte, 16000))
			_, _, err := r.call(soon(t), write)
			if errors.Is(err, syscall.EBUSY) {
				break
			}
			require.ErrorIs(t, err, syscall.EINVAL)
			_, err = outcome()
			require.NoError(t, err)
		}
		byOp.Sock, byOp.Arg = x, uint64(tsagent.OpWritev)
		r.must(byOp)
		_, err = outcome()
		require.ErrorIs(t, err, syscall.ECANCELED)
		full := write
		full.Flags |= tsagent.FlagDeadline
		r.refuse(syscall.ETIMEDOUT, full, within(time.Millisecond), make([]byte, 16000))
		begin(write, make([]byte, 16000))
		r.refuse(syscall.EBUSY, write, []byte("x"))
		r.refuse(syscall.EBUSY, tsagent.Header{Op: tsagent.OpCloseWrite, Sock: x})
		r.refuse(syscall.EBUSY, tsagent.Header{Op: tsagent.OpDisconnect, Sock: x})
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: y})
		_, err = outcome()
		require.Error(t, err)
	})
}

// What lies is refused with EINVAL and a text, and harms nobody.
func TestLyingLengths(t *testing.T) {
	s := onLoopback(t, nil)
	r := s.raw(t)
	ev, err := r.ep.Call(soon(t), connector.Message{ID: cbid.TSocket, Data: []byte("short")}, connector.Dest{})
	require.NoError(t, err)
	reply, text, err := tsagent.ParseReply(ev.Msg.Data)
	require.NoError(t, err)
	require.Equal(t, syscall.EINVAL, reply.Errno)
	require.Contains(t, string(text), "16 bytes")

	stream, dgram := r.open(unix.AF_INET, unix.SOCK_STREAM), r.open(unix.AF_INET, unix.SOCK_DGRAM)
	x, _ := r.connected(local4(0))
	lie := []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	for _, c := range []struct {
		want syscall.Errno
		h    tsagent.Header
		body []byte
	}{
		{syscall.EOPNOTSUPP, tsagent.Header{Op: 0}, nil},
		{syscall.EOPNOTSUPP, tsagent.Header{Op: 0x3fff}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpHello}, nil},
		{syscall.EPROTONOSUPPORT, tsagent.Header{Op: tsagent.OpHello}, lie},
		{syscall.EAFNOSUPPORT, tsagent.Header{Op: tsagent.OpOpen, Arg: 99}, nil},
		{syscall.EPROTONOSUPPORT, tsagent.Header{Op: tsagent.OpOpen, Arg: 2 | 9<<16}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpOpen, Arg: 2 | 1<<16}, lie},
		{syscall.EOPNOTSUPP, tsagent.Header{Op: tsagent.OpOpen, Arg: 2 | 1<<16}, lie[:8]},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpBind, Sock: stream}, lie},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpBind, Sock: stream}, nil},
		{syscall.EAFNOSUPPORT, tsagent.Header{Op: tsagent.OpBind, Sock: stream}, tsagent.AppendAddr(nil, tsocket.MustAddr(tsocket.UnixAddr("/x")))},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpConnect, Sock: stream}, append(tsagent.AppendAddr(nil, local4(1)), lie...)},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpListen, Sock: stream, Arg: 1 << 63}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpAccept, Sock: stream}, nil},
		{syscall.ENOTCONN, tsagent.Header{Op: tsagent.OpReadv, Sock: stream, Arg: 1}, nil},
		{syscall.ENOTCONN, tsagent.Header{Op: tsagent.OpWritev, Sock: stream}, lie},
		{syscall.EOPNOTSUPP, tsagent.Header{Op: tsagent.OpReadv, Sock: dgram, Arg: 1}, nil},
		{syscall.EOPNOTSUPP, tsagent.Header{Op: tsagent.OpRecvFrom, Sock: stream}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpReadv, Sock: x}, nil},
		{syscall.EMSGSIZE, tsagent.Header{Op: tsagent.OpReadv, Sock: x, Arg: 1 << 40}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpWritev, Sock: x}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpWritev, Flags: tsagent.FlagMore, Sock: x}, lie},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpWindow, Sock: x, Arg: 1 << 63}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpSendTo, Sock: dgram}, lie},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpSendTo, Sock: dgram}, nil},
		{syscall.ENOPROTOOPT, tsagent.Header{Op: tsagent.OpSetOpt, Sock: x, Arg: 1 << 50}, nil},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpSetOpt, Sock: x, Arg: uint64(tsagent.OptNoDelay)}, lie},
		{syscall.EINVAL, tsagent.Header{Op: tsagent.OpGetOpt, Sock: x, Arg: uint64(tsagent.OptNoDelay)}, lie},
		{syscall.ESTALE, tsagent.Header{Op: tsagent.OpStat, Arg: 1 << 40}, nil},
		{syscall.EBADF, tsagent.Header{Op: tsagent.OpClose, Sock: 0xffffffff}, nil},
	} {
		err := r.refuse(c.want, c.h, c.body)
		require.NotEmpty(t, err.Error(), c.h)
	}
	r.must(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, []byte("it works still"))
}

// A batch in several messages is put together, up to a limit.
func TestBatchInSeveralMessages(t *testing.T) {
	s := onLoopback(t, nil)
	r := s.raw(t)
	d, err := tsocket.UDP(local4(0), tsocket.Addr{})
	require.NoError(t, err)
	defer d.Close()
	u := r.open(unix.AF_INET, unix.SOCK_DGRAM)
	var w tsagent.BatchWriter
	w.Add(make([]byte, 40_000), d.LocalAddr())
	w.Add(make([]byte, 2), d.LocalAddr())
	body := w.Body()
	for len(body) > 16000 {
		r.post(tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagMore, Sock: u}, body[:16000])
		body = body[16000:]
	}
	reply, _ := r.must(tsagent.Header{Op: tsagent.OpSendTo, Sock: u}, body)
	require.EqualValues(t, 2, reply.Value)
	got, err := d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	require.Len(t, got.Data, 40_000)

	for range 20 {
		r.post(tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagMore, Sock: u}, make([]byte, 16000))
	}
	h, why := r.event()
	require.Equal(t, tsagent.EvError, h.Op)
	require.EqualValues(t, syscall.EMSGSIZE, binary.NativeEndian.Uint32(why))
}

func dest(port uint32) connector.Dest { return connector.Dest{Port: port} }
