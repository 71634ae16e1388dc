package rxagent_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// oneConn is an endpoint's configuration with which four calls to a peer run at a time, and others wait for a channel.
func oneConn() *rxrpc.Config { return &rxrpc.Config{Limits: rxrpc.Limits{ConnsPerBundle: 1}} }

// taken has all channels to a server that answers nothing taken, by the calls 1 to 4 of a socket of c.
func taken(t *testing.T, w *world, c *client) (sock uint32) {
	t.Helper()
	_, a := newWorld(t, nil).client(t).server(52)
	s := c.connected(a)
	for tag := uint64(1); tag <= 4; tag++ {
		c.send(s, tag, []byte("x"))
	}
	require.Len(t, w.agent.Sockets(), 1)
	return s
}

// within is a body with a deadline before it.
func within(d time.Duration, body []byte) []byte {
	return append(rxmsg.AppendDeadline(nil, uint64(d)), body...)
}

func aborting(tag uint64) rxrpc.Control {
	c := command(tag, rxrpc.CtlAbort)
	c.Code = rxrpc.UserAbort
	return c
}

// TestMessagesWithoutDataCount: an owner cannot have more of them remembered than Limits.Bytes allows; one who can post nothing more can
// abort its calls, which frees what they have posted.
func TestMessagesWithoutDataCount(t *testing.T) {
	const most = 50
	w := newWorld(t, &rxagent.Config{Endpoint: oneConn(), Limits: rxagent.Limits{Bytes: most << 10}})
	c := w.client(t)
	s := taken(t, w, c)
	h := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}
	empty := message(t, rxrpc.Msg{Control: control(10), Flags: rxrpc.MsgMore})
	for range most {
		c.post(h, 0, empty)
		h.Flags |= rxmsg.FlagFurther
	}
	late := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s, Flags: rxmsg.FlagDeadline}
	_, _, err := c.do(late, within(time.Minute, message(t, rxrpc.Msg{Control: control(11)})))
	require.ErrorIs(t, err, syscall.ENOBUFS)
	assert.EqualValues(t, most<<10, w.agent.Sockets()[0].Bytes)
	require.NoError(t, c.command(s, aborting(10)))
	require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Zero(col, w.agent.Sockets()[0].Bytes) }, time.Minute, time.Millisecond)
	_, _, err = c.do(late, within(10*time.Millisecond, message(t, rxrpc.Msg{Control: control(11)})))
	require.ErrorIs(t, err, syscall.ETIMEDOUT, "there is room for it, but no channel")
	assert.Zero(t, w.agent.Pending())
}

// TestAnsweredRequestsDoNotCount: who has the answer to the one request that may wait can make the next one.
func TestAnsweredRequestsDoNotCount(t *testing.T) {
	c := newWorld(t, &rxagent.Config{Limits: rxagent.Limits{Requests: 1}}).client(t)
	for range 2000 {
		c.must(rxmsg.Header{Op: rxmsg.OpNullKey}, []byte("example.org"))
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpKeyList}, nil)
		require.ErrorIs(t, err, syscall.EOPNOTSUPP)
	}
}

// TestNullKeys: there is nothing to use up.
func TestNullKeys(t *testing.T) {
	c := newWorld(t, nil).client(t)
	first, _ := c.must(rxmsg.Header{Op: rxmsg.OpNullKey}, []byte("example.org"))
	for range 300 {
		r, _ := c.must(rxmsg.Header{Op: rxmsg.OpNullKey}, []byte("example.com"))
		require.Equal(t, first.Value, r.Value)
	}
}

// stuckReply has a server of c post a reply of which its client takes only the beginning.
func stuckReply(t *testing.T, c, caller *client) (sock uint32) {
	t.Helper()
	s, a := c.server(52)
	k := caller.socket(rxmsg.Socket{Window: 1})
	caller.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: k}, a.AppendRaw(nil))
	require.NoError(t, c.command(s, command(3, rxrpc.CtlChargeAccept)))
	caller.send(k, 1, []byte("request"))
	_, _ = c.phase(s, 3)
	for left := 100; left > 0; left-- {
		m := rxrpc.Msg{Control: control(3), Data: pattern(16000), Flags: rxrpc.MsgMore}
		if left == 1 {
			m.Flags = 0
		}
		c.post(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s, Flags: rxmsg.FlagFurther}, 0, message(t, m))
	}
	return s
}

// TestLinger: a socket that was closed counts for its port and its user as long as it waits for its replies to be taken, and waits at most as long
// as the agent, or the deadline, allows; then it says so.
func TestLinger(t *testing.T) {
	cfg := func(linger time.Duration) *rxagent.Config {
		return &rxagent.Config{SendWindow: 2 << 20, Linger: linger, Limits: rxagent.Limits{Sockets: 1}}
	}
	open := rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}
	t.Run("counts", func(t *testing.T) {
		w := newWorld(t, cfg(time.Hour))
		c := w.client(t)
		s := stuckReply(t, c, newWorld(t, nil).client(t))
		c.post(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, 77, nil)
		require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Empty(col, w.agent.Sockets()) }, time.Minute, time.Millisecond)
		_, _, err := c.do(open, nil)
		require.ErrorIs(t, err, syscall.EMFILE)
		assert.Equal(t, 1, w.agent.Stats().Sockets)
		c.die()
		require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Zero(col, w.agent.Stats().Sockets) }, time.Minute, time.Millisecond)
	})
	t.Run("the agent's limit", func(t *testing.T) {
		c := newWorld(t, cfg(time.Millisecond)).client(t)
		s := stuckReply(t, c, newWorld(t, nil).client(t))
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, nil)
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		assert.ErrorContains(t, err, "replies")
		c.must(open, nil)
	})
	t.Run("a deadline", func(t *testing.T) {
		c := newWorld(t, cfg(time.Hour)).client(t)
		s := stuckReply(t, c, newWorld(t, nil).client(t))
		_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpClose, Sock: s, Flags: rxmsg.FlagDeadline}, within(time.Millisecond, nil))
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		c.must(open, nil)
	})
	t.Run("nothing to wait for", func(t *testing.T) {
		c := newWorld(t, cfg(time.Hour)).client(t)
		s, _ := c.server(52)
		c.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, nil)
	})
}

// TestCallsOfAUser: one user cannot have all calls of the endpoint: on however many sockets and ports, both those it makes and those it
// has let in.
func TestCallsOfAUser(t *testing.T) {
	w := newWorld(t, &rxagent.Config{Limits: rxagent.Limits{UserCalls: 4}})
	_, a := newWorld(t, nil).client(t).server(52)
	one, two := w.client(t), w.client(t)
	_, hello := one.must(rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, rxmsg.Version))
	h, err := rxmsg.ParseHello(hello)
	require.NoError(t, err)
	assert.EqualValues(t, 4, h.UserCalls)
	s1, s2 := one.connected(a), two.connected(a)
	for tag := range uint64(2) {
		one.send(s1, tag, []byte("x"))
		two.send(s2, tag, []byte("x"))
	}
	_, _, err = two.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s2}, message(t, rxrpc.Msg{Control: control(9)}))
	require.ErrorIs(t, err, syscall.ENOBUFS)
	require.ErrorContains(t, err, "has 4 calls, which is the limit")
	begin, err := (&rxmsg.BeginCall{}).Append(nil)
	require.NoError(t, err)
	_, _, err = two.do(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: s2, Arg: 9}, begin)
	require.ErrorIs(t, err, syscall.ENOBUFS)
	server, sa := one.server(53)
	require.ErrorIs(t, one.command(server, command(1, rxrpc.CtlChargeAccept)), syscall.ENOBUFS)

	caller := newWorld(t, nil).client(t)
	k := caller.socket(rxmsg.Socket{BusyEnds: true})
	caller.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: k}, sa.AppendRaw(nil))
	caller.send(k, 1, []byte("x"))
	assert.Equal(t, rxrpc.CtlBusy, caller.msg().Control.Command)

	two.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: s2}, nil)
	caller.send(k, 2, []byte("x"))
	assert.Equal(t, rxrpc.CtlNewCall, one.msg().Control.Command)
	one.send(s1, 9, []byte("x"))
}

// TestHandlesOfCallsThatAreOver: nothing of a call is remembered after its end, delivered or not.
func TestHandlesOfCallsThatAreOver(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	server.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: s}, nil)
	for range 3 {
		go cl.send(k, 1, pattern(100000))
		server.rx(rxrpc.MarkNewCall)
		require.NoError(t, server.command(s, command(8, rxrpc.CtlAccept)))
		for last := false; !last; {
			_, m := server.rx(rxrpc.MarkData)
			last = m.Last
			assert.Equal(t, last, m.Handle == 0, "after the last there is no window to open")
		}
		assert.NotZero(t, w.agent.Handles())
		server.send(s, 8, []byte("reply"))
		cl.phase(k, 1)
		server.rx(rxrpc.MarkFinalAck)
		assert.Zero(t, w.agent.Handles())
	}
}

// TestWindowOfInterceptor: WINDOW does not undo the bound of what an interceptor has not delivered, before INTERCEPT or after it.
func TestWindowOfInterceptor(t *testing.T) {
	const window = 4096
	for name, before := range map[string]bool{"before": true, "after": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			server, cl := w.client(t), w.client(t)
			s := server.socket(rxmsg.Socket{Window: window})
			a := server.bind(s, 52)
			server.must(rxmsg.Header{Op: rxmsg.OpListen, Sock: s, Arg: 10}, nil)
			k := cl.connected(a)
			cl.must(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, message(t, rxrpc.Msg{Control: control(1), Flags: rxrpc.MsgMore, Data: pattern(2000)}))
			require.Equal(t, rxrpc.CtlNewCall, server.msg().Control.Command)
			require.NoError(t, server.command(s, command(8, rxrpc.CtlAccept)))
			first := len(server.msg().Data) // a packet
			open := rxmsg.Header{Op: rxmsg.OpWindow, Sock: s, Arg: 8}
			if before {
				server.must(open, rxmsg.AppendU32(nil, 1<<30))
			}
			server.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: s}, nil)
			if !before {
				server.must(open, rxmsg.AppendU32(nil, uint32(first))) // what was told before can be opened again
			}
			go cl.send(k, 1, pattern(100000))
			var handles []uint32
			got, out, last := 0, 0, false
			rx := func() {
				_, m := server.rx(rxrpc.MarkData)
				got += len(m.Data)
				out += max(len(m.Data), 256)
				handles, last = append(handles, m.Handle), m.Last
			}
			for out < window {
				rx()
			}
			server.must(open, rxmsg.AppendU32(nil, 1<<30))
			<-time.After(200 * time.Millisecond) // enough for more to come
			require.Equal(t, len(handles), w.agent.Handles())
			for !last {
				for _, h := range handles {
					server.post(rxmsg.Header{Op: rxmsg.OpDataDelivered, Sock: s, Arg: uint64(h)}, 0, nil)
				}
				handles = nil
				rx()
			}
			require.Equal(t, 102000, first+got)
		})
	}
}

// TestRecvDataWithoutReply: it would throw away what it reads.
func TestRecvDataWithoutReply(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	server.must(rxmsg.Header{Op: rxmsg.OpChargeAccept, Sock: s, Arg: 1}, rxmsg.AppendU32(nil, rxmsg.ChargeNotify))
	begin, err := (&rxmsg.BeginCall{}).Append(nil)
	require.NoError(t, err)
	cl.must(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: 1}, begin)
	cl.sendData(k, 1, []byte("request"))
	server.notified(s, 1)
	server.post(rxmsg.Header{Op: rxmsg.OpRecvData, Sock: s, Arg: 1}, 0, (&rxmsg.RecvData{Most: 100}).Append(nil))
	e := server.next()
	require.Equal(t, rxmsg.EventError, e.h.Op)
	f, err := rxmsg.ParseFailure(e.body)
	require.NoError(t, err)
	assert.Equal(t, syscall.EINVAL, f.Errno)
	assert.Equal(t, "request", string(server.recvData(s, 1, 7, false).Data))
}
