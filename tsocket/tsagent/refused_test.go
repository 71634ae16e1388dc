package tsagent_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

var errRule = errors.New("rule \"nobody\"")

func nowhere(a *tsagent.Access) error {
	if a.Op == tsagent.OpSendTo || a.Op == tsagent.OpConnect {
		return errRule
	}
	return nil
}

// A batch without reply of which nothing may be sent gives its window back, and tells of what was refused.
func TestBatchThatIsRefusedAsAWhole(t *testing.T) {
	onEach(t, &tsagent.Config{Policy: tsagent.PolicyFunc(nowhere)}, func(t *testing.T, s *site) {
		r := s.raw(t)
		x := r.open(unix.AF_INET, unix.SOCK_DGRAM)
		var w tsagent.BatchWriter
		for range 10 {
			w.Add(make([]byte, 1500), local4(9))
		}
		const batches = 100 // several times the window
		granted, sent := uint64(256<<10), uint64(0)
		notices := 0
		for range batches {
			for granted < uint64(len(w.Body())) {
				switch h, body := r.event(); h.Op {
				case tsagent.EvWindow:
					granted += h.Arg
				case tsagent.EvNotice:
					n, err := tsagent.ParseNotice(body)
					require.NoError(t, err)
					require.Equal(t, syscall.EACCES, n.Errno)
					notices++
				default:
					require.Equal(t, tsagent.EvError, h.Op, "more than there was room to tell")
				}
			}
			granted -= uint64(len(w.Body()))
			r.post(tsagent.Header{Op: tsagent.OpSendTo, Sock: x}, w.Body())
			sent += uint64(len(w.Body()))
		}
		require.Greater(t, sent, uint64(4*256<<10))
		require.Positive(t, notices)
		require.Zero(t, s.agent.Sockets()[0].Queued)
	})
}

// Each datagram that was refused is told, or counted.
func TestFailuresThatAreNotToldOneByOne(t *testing.T) {
	onEach(t, &tsagent.Config{Policy: tsagent.PolicyFunc(nowhere)}, func(t *testing.T, s *site) {
		r := s.raw(t)
		x := r.open(unix.AF_INET, unix.SOCK_DGRAM)
		var w tsagent.BatchWriter
		const each, batches = 500, 10
		for range each {
			w.Add([]byte("x"), local4(9))
		}
		for range batches {
			r.post(tsagent.Header{Op: tsagent.OpSendTo, Sock: x}, w.Body())
		}
		counted := false
		for left := each * batches; left > 0; {
			h, body := r.event()
			if h.Op == tsagent.EvNotice {
				left--
				continue
			}
			require.Equal(t, tsagent.EvError, h.Op)
			require.EqualValues(t, tsagent.OpSendTo, h.Arg)
			require.EqualValues(t, syscall.ENOBUFS, binary.NativeEndian.Uint32(body))
			var n int
			_, err := fmt.Sscanf(string(body[4:]), "sendto: %d more", &n)
			require.NoError(t, err)
			counted = true
			left -= n
			require.GreaterOrEqual(t, left, 0)
		}
		require.True(t, counted)
	})
}

// Requests that are refused leave nothing behind, neither memory nor something that waits for the end of the socket.
func TestRefusedRequestsLeaveNothing(t *testing.T) {
	s := onLoopback(t, &tsagent.Config{Policy: tsagent.PolicyFunc(nowhere)})
	r := s.raw(t)
	x := r.open(unix.AF_INET, unix.SOCK_STREAM)
	u := r.open(unix.AF_INET, unix.SOCK_DGRAM)
	to := tsagent.AppendAddr(nil, local4(9))
	var w tsagent.BatchWriter
	w.Add([]byte("x"), local4(9))
	refuse := func(want syscall.Errno, h tsagent.Header, body ...[]byte) {
		if _, _, err := r.call(background, h, body...); !errors.Is(err, want) {
			require.ErrorIs(t, err, want)
		}
	}
	refused := func() {
		// Each of them would be outstanding, or has a deadline, if it were not refused.
		refuse(syscall.EACCES, tsagent.Header{Op: tsagent.OpConnect, Sock: x}, to)
		refuse(syscall.EACCES, tsagent.Header{Op: tsagent.OpConnect, Flags: tsagent.FlagDeadline, Sock: x}, within(patience), to)
		refuse(syscall.EACCES, tsagent.Header{Op: tsagent.OpSendTo, Flags: tsagent.FlagDeadline, Sock: u}, within(patience), w.Body())
		refuse(syscall.ENOTCONN, tsagent.Header{Op: tsagent.OpCloseWrite, Flags: tsagent.FlagDeadline, Sock: x}, within(patience))
		refuse(syscall.ENOTCONN, tsagent.Header{Op: tsagent.OpMonitor, Flags: tsagent.FlagDeadline, Sock: x}, within(patience))
	}
	for range 100 {
		refused()
	}
	before := heap()
	const rounds = 2000 // of which each would leave some 100 bytes and more
	for range rounds {
		refused()
	}
	require.Less(t, heap()-before, int64(rounds*100))
}

// The value of a WRITEV is what was written of it, at once and later together.
func TestWriteInTwoParts(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		l, err := tsocket.ListenUnix(socketPath(t), nil)
		require.NoError(t, err)
		defer l.Close()
		r := s.raw(t)
		x := r.open(unix.AF_UNIX, unix.SOCK_STREAM)
		r.must(tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, l.Addr()))
		p, err := l.Accept(soon(t))
		require.NoError(t, err)
		defer p.Close()
		// Writes with a reply fill the peer up to one that waits; odd lengths make it stop inside.
		const size = 16001
		write := message(tsagent.Header{Op: tsagent.OpWritev, Sock: x}, make([]byte, size))
		write.Seq, write.Ack = 77, 1000
		sent := 0
		for s.agent.Sockets()[0].Queued == 0 {
			require.NoError(t, r.ep.Post(soon(t), write, connector.Dest{}))
			sent++
			r.must(tsagent.Header{Op: tsagent.OpGetName, Sock: x})
		}
		_, err = p.Readv(soon(t), make([]byte, sent*size))
		require.NoError(t, err)
		for range sent {
			ev, err := r.ep.Recv(soon(t))
			require.NoError(t, err)
			reply, body, err := tsagent.ParseReply(ev.Msg.Data)
			require.NoError(t, err)
			require.NoError(t, reply.Err(body))
			require.EqualValues(t, size, reply.Value)
		}
		require.EqualValues(t, sent*size, s.agent.Sockets()[0].BytesOut)
	})
}

// The place that an ACCEPT keeps for its socket is nobody's before there is one.
func TestReservedPlaces(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		l, _ := r.listener(local4(0))
		require.NoError(t, r.ep.Post(soon(t), message(tsagent.Header{Op: tsagent.OpAccept, Sock: l}), connector.Dest{}))
		// The next number but one is taken once the place is.
		var next uint32
		require.Eventually(t, func() bool {
			next = r.open(unix.AF_INET, unix.SOCK_DGRAM)
			r.must(tsagent.Header{Op: tsagent.OpClose, Sock: next})
			return next > l+1
		}, patience, 1)
		for num := l + 1; num <= next; num++ {
			for op := tsagent.OpBind; op <= tsagent.OpCancel; op++ {
				r.refuse(syscall.EBADF, tsagent.Header{Op: op, Sock: num, Arg: 1}, []byte("body"))
			}
		}
		require.Equal(t, 1, s.agent.Stats().Sockets)
		require.Len(t, s.agent.Sockets(), 1)
		require.EqualValues(t, syscall.EBADF, errnoOfPosted(r, tsagent.Header{Op: tsagent.OpClose, Sock: l + 1}))
	})
}

// errnoOfPosted is the errno of the event that tells of a request without reply.
func errnoOfPosted(r *raw, h tsagent.Header) uint32 {
	r.post(h)
	for {
		if h, why := r.event(); h.Op == tsagent.EvError {
			return binary.NativeEndian.Uint32(why)
		}
	}
}
