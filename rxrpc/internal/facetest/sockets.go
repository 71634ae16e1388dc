package facetest

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"syscall"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// socket makes a socket that is closed at the end of the test.
func socket(t *T, cfg *rxrpc.SocketConfig) Socket {
	t.Helper()
	s, err := t.NewSocket(rxrpc.Inet, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func at(service uint16, addr netip.AddrPort) rxrpc.Addr {
	return rxrpc.Addr{Service: service, Addr: addr}
}

// listening is a server's socket for a service.
func listening(t *T, service uint16, cfg *rxrpc.SocketConfig) Socket {
	t.Helper()
	s := socket(t, cfg)
	require.NoError(t, s.Bind(at(service, local4)))
	require.NoError(t, s.Listen(10))
	return s
}

// connected is a client's socket.
func connected(t *T, to Socket, cfg *rxrpc.SocketConfig) Socket {
	t.Helper()
	s := socket(t, cfg)
	require.NoError(t, s.Connect(to.Getsockname()))
	return s
}

func tag(id uint64) rxrpc.Control { return rxrpc.Control{CallID: id, HasCallID: true} }

func command(id uint64, c rxrpc.ControlType) rxrpc.Control {
	return rxrpc.Control{CallID: id, HasCallID: true, Command: c}
}

// sends sends and must succeed.
func sends(t *T, s Socket, m rxrpc.Msg) {
	t.Helper()
	n, err := s.Sendmsg(soon(t), m)
	require.NoError(t, err)
	require.Equal(t, len(m.Data), n)
}

// receives receives and must succeed.
func receives(t *T, s Socket, flags rxrpc.MsgFlags) rxrpc.Msg {
	t.Helper()
	m, err := s.Recvmsg(soon(t), make([]byte, 1<<16), flags)
	require.NoError(t, err)
	return m
}

// phase receives the data of a call's phase, to its end.
func phase(t *T, s Socket, id uint64) ([]byte, rxrpc.MsgFlags) {
	t.Helper()
	var data []byte
	for {
		m := receives(t, s, 0)
		require.Equal(t, tag(id), m.Control)
		data = append(data, m.Data...)
		if m.Flags&rxrpc.MsgMore == 0 {
			return data, m.Flags
		}
	}
}

// TestSocketOfTheFirstKind: NEW_CALL, ACCEPT, request, reply, final ACK.
func testSocketOfTheFirstKind(t *T) {
	server := listening(t, 52, nil)
	client := connected(t, server, nil)
	for _, size := range []int{0, 1, 1412, 1413, 300000} {
		request, reply := pattern(size), pattern(size/2+1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			half := len(request) / 2
			_, err := client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(7), Flags: rxrpc.MsgMore, Data: request[:half]})
			assert.NoError(t, err)
			_, err = client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(7), Data: request[half:]})
			assert.NoError(t, err)
		}()
		m := receives(t, server, 0)
		assert.Equal(t, rxrpc.Control{Command: rxrpc.CtlNewCall}, m.Control)
		assert.Empty(t, m.Data)
		assert.Zero(t, m.Flags)
		sends(t, server, rxrpc.Msg{Control: command(3, rxrpc.CtlAccept)})
		got, flags := phase(t, server, 3)
		<-done
		assert.Equal(t, len(request), len(got))
		assert.Equal(t, string(request), string(got))
		assert.Zero(t, flags)
		go func() {
			_, err := server.Sendmsg(soon(t), rxrpc.Msg{Control: tag(3), Data: reply})
			assert.NoError(t, err)
		}()
		got, flags = phase(t, client, 7)
		assert.Equal(t, string(reply), string(got))
		assert.Equal(t, rxrpc.MsgEOR, flags)
		m = receives(t, server, 0)
		assert.Equal(t, command(3, rxrpc.CtlAck), m.Control)
		assert.Equal(t, rxrpc.MsgEOR, m.Flags)
		assert.Empty(t, m.Data)
	}
}

// TestSocketOfToday: tags are given beforehand; without one left calls are told BUSY, and
// come again.
func testSocketOfToday(t *T) {
	server := listening(t, 52, nil)
	client := connected(t, server, nil)
	sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
	sends(t, client, rxrpc.Msg{Control: tag(10), Data: []byte("one")})
	got, flags := phase(t, server, 1)
	assert.Equal(t, "one", string(got))
	assert.Zero(t, flags)
	sends(t, server, rxrpc.Msg{Control: tag(1), Data: []byte("eins")})
	got, _ = phase(t, client, 10)
	assert.Equal(t, "eins", string(got))
	assert.Equal(t, command(1, rxrpc.CtlAck), receives(t, server, 0).Control)

	sends(t, client, rxrpc.Msg{Control: tag(11), Data: []byte("two")})
	_, err := server.Recvmsg(soon(t), nil, rxrpc.MsgDontWait)
	require.ErrorIs(t, err, syscall.EAGAIN)
	sends(t, server, rxrpc.Msg{Control: command(2, rxrpc.CtlChargeAccept)})
	got, _ = phase(t, server, 2)
	assert.Equal(t, "two", string(got))
}

// TestSocketAndTheOtherFaces: a Server answers a Socket, a Socket a Client.
func testSocketAndTheOtherFaces(t *T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{9: echo})
	c := socket(t, nil)
	sends(t, c, rxrpc.Msg{Name: at(9, s.Endpoint().LocalAddr()), Control: tag(1), Data: []byte("hello")})
	got, flags := phase(t, c, 1)
	assert.Equal(t, "hello", string(got))
	assert.Equal(t, rxrpc.MsgEOR, flags)

	server := listening(t, 8, nil)
	sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
	var wg sync.WaitGroup
	wg.Go(func() {
		call, err := open(t, local4, nil).Client(server.Getsockname().Addr, nil).NewCall(soon(t), 8)
		if assert.NoError(t, err) {
			_, err = call.WriteLast(pattern(50000))
			assert.NoError(t, err)
			b, err := io.ReadAll(call)
			assert.NoError(t, err)
			assert.Equal(t, pattern(70000), b)
		}
	})
	got, _ = phase(t, server, 1)
	assert.Equal(t, pattern(50000), got)
	sends(t, server, rxrpc.Msg{Control: tag(1), Data: pattern(70000)})
	wg.Wait()
	assert.Equal(t, command(1, rxrpc.CtlAck), receives(t, server, 0).Control)
}

// TestSocketAbort: either side aborts; both receive it, and then the tag is free.
func testSocketAbort(t *T) {
	server := listening(t, 52, nil)
	client := connected(t, server, nil)
	sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
	sends(t, client, rxrpc.Msg{Control: tag(1), Flags: rxrpc.MsgMore, Data: pattern(3000)})
	require.NotEmpty(t, receives(t, server, 0).Data)
	abort := command(1, rxrpc.CtlAbort)
	abort.Code = -77
	sends(t, server, rxrpc.Msg{Control: abort})
	for _, s := range []Socket{server, client} {
		m := receives(t, s, 0)
		assert.Equal(t, abort, m.Control)
		assert.Equal(t, rxrpc.MsgEOR, m.Flags)
		assert.Equal(t, s == client, abortOf(t, m.Err).Remote)
		_, err := s.Sendmsg(soon(t), rxrpc.Msg{Control: abort})
		require.ErrorIs(t, err, errno.BadSlot)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := server.Recvmsg(ctx, nil, 0)
	require.ErrorIs(t, err, syscall.EINTR)
	require.ErrorIs(t, err, context.Canceled)
	_, err = client.Recvmsg(soon(t), nil, 0)
	require.ErrorIs(t, err, syscall.EAGAIN, "no calls")
}
