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

// recvData does RECV_DATA.
func (c *client) recvData(sock uint32, tag uint64, most int, more bool) rxmsg.Received {
	c.t.Helper()
	w := rxmsg.RecvData{Most: uint32(most), More: more}
	_, body := c.must(rxmsg.Header{Op: rxmsg.OpRecvData, Sock: sock, Arg: tag}, w.Append(nil))
	r, err := rxmsg.ParseReceived(body)
	require.NoError(c.t, err)
	return r
}

// notified returns when there is news of a call.
func (c *client) notified(sock uint32, tag uint64) {
	c.t.Helper()
	want := rxmsg.Header{Op: rxmsg.EventNotify, Flags: rxmsg.FlagTag, Sock: sock, Arg: tag}
	for {
		e := c.next()
		if want.Arg = e.h.Arg; e.h.Arg == tag {
			require.Equal(c.t, want, e.h)
			return
		}
		require.Equal(c.t, want, e.h, "of a call before: its end")
	}
}

// wholly reads the data of a phase by RECV_DATA, of which there are size bytes.
func (c *client) wholly(sock uint32, tag uint64, size int) (data []byte, status uint8) {
	c.t.Helper()
	for {
		c.notified(sock, tag)
		for {
			r := c.recvData(sock, tag, min(size-len(data), rxmsg.MaxReceived), len(data)+rxmsg.MaxReceived < size)
			data = append(data, r.Data...)
			require.EqualValues(c.t, 52, r.Service)
			if r.Errno == syscall.EAGAIN {
				break // there will be news
			}
			require.Zero(c.t, r.Errno)
			if r.Status != rxrpc.RecvMore {
				return data, r.Status
			}
		}
	}
}

// TestRecvData: calls of which news are told, and data read when they are wanted, on both sides: the kernel's interface of today. One event until it is asked, and what is not
// read stays with the peer.
func TestRecvData(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	begin, err := (&rxmsg.BeginCall{Notify: true}).Append(nil)
	require.NoError(t, err)
	for i, size := range []int{1, 16000, 900000} {
		tag := uint64(i)
		server.must(rxmsg.Header{Op: rxmsg.OpChargeAccept, Sock: s, Arg: tag}, rxmsg.AppendU32(nil, rxmsg.ChargeNotify))
		cl.must(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: tag}, begin)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			cl.sendData(k, tag, pattern(size))
		}()
		got, status := server.wholly(s, tag, size)
		assert.Equal(t, string(pattern(size)), string(got))
		assert.EqualValues(t, rxrpc.RecvRequest, status)
		<-sent
		sent = make(chan struct{})
		go func() {
			defer close(sent)
			server.sendData(s, tag, pattern(size)) // not before anything is read: what is not read fills the windows
		}()
		got, status = cl.wholly(k, tag, size)
		<-sent
		assert.Equal(t, string(pattern(size)), string(got))
		assert.EqualValues(t, rxrpc.RecvEnd, status)
		_, _, err := cl.do(rxmsg.Header{Op: rxmsg.OpRecvData, Sock: k, Arg: tag}, (&rxmsg.RecvData{Most: rxmsg.MaxReceived + 1}).Append(nil))
		require.ErrorIs(t, err, syscall.EINVAL)
		cl.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: k, Arg: tag}, nil)
		server.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: s, Arg: tag}, nil)
		_, _, err = cl.do(rxmsg.Header{Op: rxmsg.OpRecvData, Sock: k, Arg: tag}, (&rxmsg.RecvData{Most: 1}).Append(nil))
		require.ErrorContains(t, err, "no such call")
	}
}

// TestRecvDataOfCallsThatFail: how a call has failed comes with RECV_DATA; data that end before, and data that are too many, are told with what was read.
func TestRecvDataOfCallsThatFail(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	begin, err := (&rxmsg.BeginCall{Notify: true}).Append(nil)
	require.NoError(t, err)
	server.must(rxmsg.Header{Op: rxmsg.OpChargeAccept, Sock: s, Arg: 1}, rxmsg.AppendU32(nil, rxmsg.ChargeNotify))
	cl.must(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: 1}, begin)
	cl.sendData(k, 1, []byte("request"))
	until := func(c *client, sock uint32, most int, more bool) (r rxmsg.Received) {
		t.Helper()
		for r.Errno = syscall.EAGAIN; r.Errno == syscall.EAGAIN; {
			c.notified(sock, 1)
			r = c.recvData(sock, 1, most, more)
		}
		return r
	}
	r := until(server, s, 3, false)
	assert.Equal(t, rxmsg.Received{Errno: syscall.EMSGSIZE, Service: 52, Data: []byte("req")}, r)
	r = server.recvData(s, 1, 10, true)
	assert.Equal(t, rxmsg.Received{Errno: syscall.EBADMSG, Service: 52, Data: []byte("uest")}, r)
	server.must(rxmsg.Header{Op: rxmsg.OpAbortCall, Sock: s, Arg: 1}, rxmsg.AppendU32(nil, 363524))
	r = until(cl, k, 10, true)
	assert.Equal(t, rxmsg.Received{Errno: syscall.ECONNABORTED, How: rxmsg.RemoteAbort, Code: 363524, Service: 52, Data: []byte{}}, r)
}
