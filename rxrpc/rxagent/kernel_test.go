package rxagent_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// rx returns the next event, which must be an RX with that mark.
func (c *client) rx(mark rxrpc.Mark) (rxmsg.Header, rxmsg.Rx) {
	c.t.Helper()
	e := c.next()
	require.Equal(c.t, rxmsg.EventRx, e.h.Op)
	r, err := rxmsg.ParseRx(e.body)
	require.NoError(c.t, err)
	require.Equal(c.t, mark.String(), r.Mark.String())
	return e.h, r
}

// allData takes a phase of a call that is intercepted.
func (c *client) allData(sock uint32, tag uint64) (data []byte) {
	c.t.Helper()
	for {
		h, r := c.rx(rxrpc.MarkData)
		require.Equal(c.t, tag, h.Arg)
		data = append(data, r.Data...)
		if r.Handle != 0 {
			c.post(rxmsg.Header{Op: rxmsg.OpDataDelivered, Sock: sock, Arg: uint64(r.Handle)}, 0, nil)
			c.post(rxmsg.Header{Op: rxmsg.OpFree, Sock: sock, Arg: uint64(r.Handle)}, 0, nil) // once counts
		}
		if r.Last {
			return data
		}
	}
}

// sendData sends data of any length by SEND_DATA.
func (c *client) sendData(sock uint32, tag uint64, data []byte) {
	c.t.Helper()
	for {
		n := min(len(data), 16000)
		flags := uint32(0)
		if n < len(data) {
			flags = uint32(rxrpc.MsgMore)
		}
		r, _ := c.must(rxmsg.Header{Op: rxmsg.OpSendData, Sock: sock, Arg: tag}, append(rxmsg.AppendU32(nil, flags), data[:n]...))
		require.Equal(c.t, n, int(r.Value))
		if data = data[n:]; len(data) == 0 {
			return
		}
	}
}

// TestKernelInterface: that of 2.6.22, on both sides, by messages only: intercepted messages with all marks of a call that succeeds.
func TestKernelInterface(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	server.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: s}, nil)
	cl.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: k}, nil)
	_, _, err := cl.do(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: k}, nil)
	require.ErrorIs(t, err, syscall.EBUSY)
	null, _ := cl.must(rxmsg.Header{Op: rxmsg.OpNullKey}, []byte("example.org"))
	for _, size := range []int{0, 1500, 600000} {
		call := func(op rxmsg.Op) rxmsg.Header { return rxmsg.Header{Op: op, Sock: k, Arg: 5} }
		begin := rxmsg.BeginCall{Key: null.Value, TxLength: int64(size), HasTxLength: true}
		body, err := begin.Append(nil)
		require.NoError(t, err)
		cl.must(call(rxmsg.OpBeginCall), body)
		r, _ := cl.must(call(rxmsg.OpCheckLife), nil)
		assert.EqualValues(t, 1, r.Value)
		_, _, err = cl.do(call(rxmsg.OpBeginCall), body)
		require.ErrorIs(t, err, syscall.EEXIST)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			cl.sendData(k, 5, pattern(size))
		}()
		h, m := server.rx(rxrpc.MarkNewCall)
		assert.Zero(t, h.Flags, "it has no number yet")
		assert.Zero(t, m.Handle)
		served := rxmsg.Header{Op: rxmsg.OpAcceptCall, Sock: s, Arg: 8}
		server.must(served, nil)
		assert.Equal(t, string(pattern(size)), string(server.allData(s, 8)))
		<-sent
		served.Op = rxmsg.OpSetTxLength
		server.must(served, []byte{100, 0, 0, 0, 0, 0, 0, 0})
		server.sendData(s, 8, pattern(100))
		assert.Equal(t, pattern(100), cl.allData(k, 5))
		h, _ = server.rx(rxrpc.MarkFinalAck)
		assert.EqualValues(t, 8, h.Arg)
		_, body = cl.must(call(rxmsg.OpSRTT), nil)
		assert.Len(t, body, 8)
		_, _, err = cl.do(call(rxmsg.OpBeginCall), nil)
		require.Error(t, err, "its number is not free")
		cl.must(call(rxmsg.OpEndCall), nil)
		_, _, err = cl.do(call(rxmsg.OpCheckLife), nil)
		require.ErrorContains(t, err, "no such call")
		served.Op = rxmsg.OpEndCall
		server.must(served, nil)
	}
}

// TestKernelInterfaceFailures: the marks of calls that are aborted, from either side; REJECT_CALL; CHARGE_ACCEPT.
func TestKernelInterfaceFailures(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	server.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: s}, nil)
	cl.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: k}, nil)
	_, _, err := server.do(rxmsg.Header{Op: rxmsg.OpRejectCall, Sock: s}, nil)
	require.ErrorIs(t, err, syscall.ENODATA)
	server.must(rxmsg.Header{Op: rxmsg.OpChargeAccept, Sock: s, Arg: 8}, nil)

	begin := rxmsg.BeginCall{Timeouts: rxrpc.Timeouts{Hard: time.Hour}}
	body, err := begin.Append(nil)
	require.NoError(t, err)
	cl.must(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: 5}, body)
	cl.sendData(k, 5, []byte("request"))
	assert.Equal(t, "request", string(server.allData(s, 8)))
	r, _ := server.must(rxmsg.Header{Op: rxmsg.OpAbortCall, Sock: s, Arg: 8}, rxmsg.AppendU32(nil, 363524))
	assert.EqualValues(t, 1, r.Value)
	_, m := cl.rx(rxrpc.MarkRemoteAbort)
	assert.EqualValues(t, 363524, m.Code)
	assert.Equal(t, syscall.ECONNABORTED, m.Errno)
	_, m = server.rx(rxrpc.MarkLocalError)
	assert.EqualValues(t, 363524, m.Code)
	r, _ = server.must(rxmsg.Header{Op: rxmsg.OpAbortCall, Sock: s, Arg: 8}, rxmsg.AppendU32(nil, 1))
	assert.Zero(t, r.Value, "it was over")
	cl.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: k, Arg: 5}, nil)
	server.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: s, Arg: 8}, nil)

	// A call that is ended while it runs: the other side sees RX_CALL_DEAD.
	server.must(rxmsg.Header{Op: rxmsg.OpChargeAccept, Sock: s, Arg: 9}, nil)
	cl.must(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: 6}, body)
	cl.sendData(k, 6, []byte("request"))
	assert.Equal(t, "request", string(server.allData(s, 9)))
	cl.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: k, Arg: 6}, nil)
	_, m = server.rx(rxrpc.MarkRemoteAbort)
	assert.Equal(t, rxrpc.CallDead, m.Code)
}
