package rxagent_test

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// TestThinPath: a process calls a server by messages to the id, one in each direction.
func TestThinPath(t *testing.T) {
	server := echo(t, 52)
	c := newWorld(t, nil).client(t)
	_, hello := c.must(rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, rxmsg.Version))
	h, err := rxmsg.ParseHello(hello)
	require.NoError(t, err)
	assert.EqualValues(t, rxmsg.Version, h.Version)
	s := c.socket(rxmsg.Socket{})
	c.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: s}, server.AppendRaw(nil))
	for tag := uint64(1); tag < 50; tag++ {
		c.post(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}, 0, message(t, rxrpc.Msg{Control: control(tag), Data: []byte("hello")}))
		m := c.msg()
		assert.Equal(t, received{s, rxrpc.Msg{Name: server, Control: control(tag), Flags: rxrpc.MsgEOR, Data: []byte("hello")}}, m)
	}
}

// TestCallsOfAnyLength: between two processes, both sides by messages, in both eras.
func TestCallsOfAnyLength(t *testing.T) {
	w := newWorld(t, nil)
	server, cl := w.client(t), w.client(t)
	s, a := server.server(52)
	k := cl.connected(a)
	for i, size := range []int{0, 1, 1412, 16000, 300000, 900000} {
		request, reply := pattern(size), pattern(size/2+1)
		today := i%2 == 1
		if today {
			require.NoError(t, server.command(s, command(3, rxrpc.CtlChargeAccept)))
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			cl.send(k, 7, request)
		}()
		if !today && i == 0 {
			m := server.msg()
			assert.Equal(t, rxrpc.Control{Command: rxrpc.CtlNewCall}, m.Control)
			require.NoError(t, server.command(s, command(3, rxrpc.CtlAccept)))
		} else if !today { // once of today, always
			require.NoError(t, server.command(s, command(3, rxrpc.CtlChargeAccept)))
		}
		got, flags := server.phase(s, 3)
		assert.Equal(t, string(request), string(got))
		assert.Zero(t, flags)
		<-sent
		go server.send(s, 3, reply)
		got, flags = cl.phase(k, 7)
		assert.Equal(t, string(reply), string(got))
		assert.Equal(t, rxrpc.MsgEOR, flags)
		assert.Equal(t, command(3, rxrpc.CtlAck), server.msg().Control)
	}
}

// lying is a message whose lengths say what they want, with 40 bytes of something behind them.
func lying(name, control uint16) []byte {
	b := binary.NativeEndian.AppendUint16(nil, name)
	b = binary.NativeEndian.AppendUint16(b, control)
	return append(b, append(make([]byte, 4), pattern(40)...)...)
}

// TestErrnos: they travel, with a text.
func TestErrnos(t *testing.T) {
	c := newWorld(t, nil).client(t)
	s, a := c.server(52)
	k := c.connected(a)
	for _, x := range []struct {
		h    rxmsg.Header
		body []byte
		want syscall.Errno
		text string
	}{
		{rxmsg.Header{Op: rxmsg.OpHello}, rxmsg.AppendU32(nil, 99), syscall.EPROTONOSUPPORT, "version 99"},
		{rxmsg.Header{Op: rxmsg.OpHello}, nil, syscall.EINVAL, "number of 0 bytes"},
		{rxmsg.Header{Op: rxmsg.OpSocket, Arg: 1}, nil, syscall.EPROTONOSUPPORT, "family 1"},
		{rxmsg.Header{Op: 0x99, Sock: s}, nil, syscall.EOPNOTSUPP, "operation 0x99"},
		{rxmsg.Header{Op: rxmsg.EventMsg, Sock: s}, nil, syscall.EOPNOTSUPP, "operation MSG"},
		{rxmsg.Header{Op: 0x40}, nil, syscall.EOPNOTSUPP, "no keys"},
		{rxmsg.Header{Op: rxmsg.OpClose, Sock: 9999}, nil, syscall.EBADF, "socket 9999"},
		{rxmsg.Header{Op: rxmsg.OpBind, Sock: s}, []byte("short"), syscall.EINVAL, "shorter"},
		{rxmsg.Header{Op: rxmsg.OpBind, Sock: k}, at(52, a.Addr), syscall.EINVAL, "bound already"},
		{rxmsg.Header{Op: rxmsg.OpConnect, Sock: k}, at(1, a.Addr), syscall.EISCONN, "connected to"},
		{rxmsg.Header{Op: rxmsg.OpListen, Sock: k, Arg: 1}, nil, syscall.EBUSY, "not a server's"},
		{rxmsg.Header{Op: rxmsg.OpListen, Sock: s, Arg: 1 << 40}, nil, syscall.EINVAL, "backlog"},
		{rxmsg.Header{Op: rxmsg.OpShutdown, Sock: s, Arg: 0}, nil, syscall.EOPNOTSUPP, "one direction"},
		{rxmsg.Header{Op: rxmsg.OpSetOpt, Sock: s, Arg: rxmsg.OptArg(1, 2)}, nil, syscall.EOPNOTSUPP, "level 1"},
		{rxmsg.Header{Op: rxmsg.OpGetOpt, Sock: s, Arg: rxmsg.OptArg(1, 2)}, nil, syscall.EOPNOTSUPP, "level 1"},
		{rxmsg.Header{Op: rxmsg.OpGetName, Sock: s, Arg: 1}, nil, syscall.ENOTCONN, "getpeername"},
		{rxmsg.Header{Op: rxmsg.OpGetName, Sock: s, Arg: 2}, nil, syscall.EINVAL, "name 2"},
		{rxmsg.Header{Op: rxmsg.OpReject, Sock: s}, nil, syscall.ENODATA, "no call waits"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, nil, syscall.EINVAL, "message of 0 bytes"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, make([]byte, 8), syscall.EINVAL, "no control data"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, lying(36, 24), syscall.EINVAL, "name of 36 bytes and control data of 24 in 40"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, lying(0xffff, 0xffff), syscall.EINVAL, "name of 65535 bytes"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, lying(0, 39), syscall.EINVAL, "control data: malformed"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k}, lying(5, 24), syscall.EINVAL, ""},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k, Flags: rxmsg.FlagFurther}, message(t, rxrpc.Msg{Control: control(1)}), syscall.Errno(57), "no such call"},
		{rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: k, Flags: rxmsg.FlagDeadline}, make([]byte, 7), syscall.EINVAL, "deadline of 7 bytes"},
		{rxmsg.Header{Op: rxmsg.OpStat}, []byte("weather"), syscall.EINVAL, "weather"},
		{rxmsg.Header{Op: rxmsg.OpEndCall, Sock: k, Arg: 5}, nil, syscall.Errno(57), "no such call"},
		{rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: k, Arg: 5}, []byte("short"), syscall.EINVAL, "call of 5 bytes"},
	} {
		_, _, err := c.do(x.h, x.body)
		require.ErrorIs(t, err, x.want, "%v", x.h.Op)
		assert.ErrorContains(t, err, x.text)
	}
	_, body := c.must(rxmsg.Header{Op: rxmsg.OpGetName, Sock: k, Arg: 1}, nil)
	assert.Equal(t, a.AppendRaw(nil), body)
	_, body = c.must(rxmsg.Header{Op: rxmsg.OpGetName, Sock: s}, nil)
	assert.Equal(t, a.AppendRaw(nil), body)
	_, body = c.must(rxmsg.Header{Op: rxmsg.OpGetOpt, Sock: s, Arg: rxmsg.OptArg(rxrpc.SOLRxRPC, rxrpc.OptSupportedCmsg)}, nil)
	n, err := rxmsg.ParseU32(body)
	require.NoError(t, err)
	assert.EqualValues(t, rxrpc.CtlChargeAccept, n)
	c.must(rxmsg.Header{Op: rxmsg.OpShutdown, Sock: s, Arg: rxrpc.ShutRDWR}, nil)
	c.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, nil)
	_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, nil)
	require.ErrorIs(t, err, syscall.EBADF)
}

// TestSocketsOfOthers are as if there were none.
func TestSocketsOfOthers(t *testing.T) {
	w := newWorld(t, nil)
	mine, other := w.client(t), w.client(t)
	s, a := mine.server(52)
	for _, op := range []rxmsg.Op{rxmsg.OpClose, rxmsg.OpBind, rxmsg.OpConnect, rxmsg.OpListen, rxmsg.OpSendmsg, rxmsg.OpWindow, rxmsg.OpGetName, rxmsg.OpBeginCall} {
		_, _, err := other.do(rxmsg.Header{Op: op, Sock: s}, a.AppendRaw(nil))
		require.ErrorIs(t, err, syscall.EBADF, "%v", op)
	}
	other.post(rxmsg.Header{Op: rxmsg.OpClose, Sock: s}, 17, nil)
	e := other.next()
	f, err := rxmsg.ParseFailure(e.body)
	require.NoError(t, err)
	assert.Equal(t, syscall.EBADF, f.Errno)
	assert.EqualValues(t, 17, f.Seq)
	mine.must(rxmsg.Header{Op: rxmsg.OpGetName, Sock: s}, nil)
}
