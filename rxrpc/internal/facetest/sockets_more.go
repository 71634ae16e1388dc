package facetest

import (
	"sync"
	"syscall"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestSocketPeek: what is peeked at is there afterwards: NEW_CALL, data, and the end.
func testSocketPeek(t *T) {
	server := listening(t, 52, nil)
	client := connected(t, server, nil)
	sends(t, client, rxrpc.Msg{Control: tag(1), Data: pattern(5000)})
	for range 2 {
		assert.Equal(t, rxrpc.CtlNewCall, receives(t, server, rxrpc.MsgPeek).Control.Command)
	}
	receives(t, server, 0)
	sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlAccept)})
	_, err := server.Wait(soon(t), rxrpc.PollIn)
	require.NoError(t, err)
	small := make([]byte, 10)
	for range 2 {
		m, err := server.Recvmsg(soon(t), small, rxrpc.MsgPeek)
		require.NoError(t, err)
		assert.Equal(t, pattern(10), m.Data)
		assert.Equal(t, rxrpc.MsgMore, m.Flags)
	}
	m, err := server.Recvmsg(soon(t), make([]byte, 5000), rxrpc.MsgWaitAll)
	require.NoError(t, err)
	assert.Equal(t, pattern(5000), m.Data, "once, and all of it")
	assert.Zero(t, m.Flags)
	sends(t, server, rxrpc.Msg{Control: tag(1), Data: []byte("reply")})
	for range 2 {
		m = receives(t, client, rxrpc.MsgPeek)
		assert.Equal(t, "reply", string(m.Data))
		assert.Equal(t, rxrpc.MsgEOR, m.Flags)
	}
	assert.Equal(t, m, receives(t, client, 0))
	for range 2 {
		assert.Equal(t, rxrpc.CtlAck, receives(t, server, rxrpc.MsgPeek).Control.Command)
	}
	assert.Equal(t, rxrpc.CtlAck, receives(t, server, 0).Control.Command)
	_, err = server.Recvmsg(soon(t), nil, rxrpc.MsgDontWait)
	require.ErrorIs(t, err, syscall.EAGAIN)
}

// TestSocketRaw: a conversation in bytes, as a C program would have it.
func testSocketRaw(t *T) {
	server := listening(t, 52, nil)
	client := socket(t, nil)
	c := tag(4)
	_, err := client.SendmsgRaw(soon(t), server.Getsockname().AppendRaw(nil), c.AppendRaw(nil), []byte("raw"), 0)
	require.NoError(t, err)
	name, control, data := make([]byte, 36), make([]byte, 128), make([]byte, 100)
	r, err := server.RecvmsgRaw(soon(t), nil, control, data, 0)
	require.NoError(t, err)
	got, err := rxrpc.ParseReceivedControl(control[:r.Control])
	require.NoError(t, err)
	assert.Equal(t, rxrpc.Control{Command: rxrpc.CtlNewCall}, got)
	accept := command(8, rxrpc.CtlAccept)
	_, err = server.SendmsgRaw(soon(t), nil, accept.AppendRaw(nil), nil, 0)
	require.NoError(t, err)
	r, err = server.RecvmsgRaw(soon(t), name, control, data, rxrpc.MsgWaitAll)
	require.NoError(t, err)
	assert.Equal(t, "raw", string(data[:r.Data]))
	from, err := rxrpc.ParseAddr(name[:r.Name], 4)
	require.NoError(t, err)
	assert.Equal(t, client.Getsockname().Addr.Port(), from.Addr.Port())
	reply := tag(8)
	_, err = server.SendmsgRaw(soon(t), nil, reply.AppendRaw(nil), []byte("yes"), 0)
	require.NoError(t, err)
	r, err = client.RecvmsgRaw(soon(t), name[:10], control[:3], data, 0)
	require.NoError(t, err)
	assert.Equal(t, rxrpc.RawMsg{Name: 10, Data: 3, Flags: rxrpc.MsgEOR | rxrpc.MsgCTrunc}, r)
}

// TestSocketUpgrade: two services at one address, of which one is better; and calls on connections of their
// own, with lengths and time-outs.
func testSocketUpgrade(t *T) {
	server := socket(t, nil)
	require.NoError(t, server.Bind(at(1, local4)))
	require.NoError(t, server.Bind(at(2, server.Getsockname().Addr)))
	require.NoError(t, server.SetUpgradeable(1, 2))
	require.NoError(t, server.Listen(5))
	client := connected(t, server, nil)
	for id, want := range map[uint64]uint16{1: 2, 2: 1} {
		sends(t, server, rxrpc.Msg{Control: command(id, rxrpc.CtlChargeAccept)})
		c := tag(id)
		c.Upgrade, c.Exclusive = want == 2, true
		c.TxLength, c.HasTxLength = 4, true
		c.Timeouts, c.HasTimeouts = rxrpc.Timeouts{Hard: time.Minute}, true
		sends(t, client, rxrpc.Msg{Control: c, Data: []byte("ping")})
		m := receives(t, server, rxrpc.MsgWaitAll)
		assert.Equal(t, want, m.Name.Service)
		reply := tag(m.Control.CallID)
		reply.Timeouts, reply.HasTimeouts = rxrpc.Timeouts{Normal: time.Minute}, true
		sends(t, server, rxrpc.Msg{Control: reply, Data: []byte("pong")})
		m = receives(t, client, 0)
		assert.Equal(t, rxrpc.MsgEOR, m.Flags)
		assert.Equal(t, want, m.Name.Service)
		assert.Equal(t, rxrpc.CtlAck, receives(t, server, 0).Control.Command)
	}
}

// TestSocketTimeout: a hard time-out ends the call by RX_CALL_TIMEOUT.
func testSocketTimeout(t *T) {
	server := listening(t, 52, nil)
	client := connected(t, server, nil)
	c := tag(1)
	c.Timeouts, c.HasTimeouts = rxrpc.Timeouts{Hard: time.Second}, true
	sends(t, client, rxrpc.Msg{Control: c})
	m := receives(t, client, 0)
	assert.Equal(t, rxrpc.CtlAbort, m.Control.Command)
	assert.Equal(t, rxrpc.CallTimeout, m.Control.Code)
	assert.Equal(t, rxrpc.MsgEOR, m.Flags)
}

// TestSocketServerMakesCalls, from its own port; an IPv6 socket has both families.
func testSocketServerMakesCalls(t *T) {
	back := listening(t, 9, nil)
	server := listening(t, 52, nil)
	sends(t, server, rxrpc.Msg{Name: back.Getsockname(), Control: tag(1), Data: []byte("callback")})
	m := receives(t, back, 0)
	assert.Equal(t, rxrpc.CtlNewCall, m.Control.Command)
	assert.Equal(t, server.Getsockname().Addr.Port(), m.Name.Addr.Port())

	six, err := t.NewSocket(rxrpc.Inet6, nil)
	require.NoError(t, err)
	defer six.Close()
	s6, err := t.NewSocket(rxrpc.Inet6, nil)
	require.NoError(t, err)
	defer s6.Close()
	require.NoError(t, s6.Bind(at(3, local6)))
	require.NoError(t, s6.Listen(3))
	for i, to := range []Socket{s6, back} {
		sends(t, six, rxrpc.Msg{Name: to.Getsockname(), Control: tag(uint64(i)), Data: []byte("x")})
		assert.Equal(t, rxrpc.CtlNewCall, receives(t, to, 0).Control.Command)
	}
}

// TestSocketManyCalls: a hundred calls at a time of one socket; each tag gets what is its own.
func testSocketManyCalls(t *T) {
	const n = 100
	server := socket(t, nil)
	require.NoError(t, server.Bind(at(52, local4)))
	require.NoError(t, server.Listen(n))
	client := connected(t, server, nil)
	go func() {
		for id := range uint64(n) {
			_, err := client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(id), Data: pattern(int(id) * 100)})
			assert.NoError(t, err)
		}
	}()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		requests := map[uint64][]byte{}
		buf := make([]byte, 700)
		for next, ended := uint64(1000), 0; ended < n; {
			m, err := server.Recvmsg(soon(t), buf, 0)
			if !assert.NoError(t, err) {
				return
			}
			id := m.Control.CallID
			switch m.Control.Command {
			case rxrpc.CtlNewCall:
				_, err = server.Sendmsg(soon(t), rxrpc.Msg{Control: command(next, rxrpc.CtlAccept)})
				next++
			case rxrpc.CtlAck:
				ended++
			default:
				if requests[id] = append(requests[id], m.Data...); m.Flags&rxrpc.MsgMore == 0 {
					_, err = server.Sendmsg(soon(t), rxrpc.Msg{Control: tag(id), Data: requests[id]})
				}
			}
			assert.NoError(t, err)
		}
	})
	replies := map[uint64][]byte{}
	for ended := 0; ended < n; {
		m, err := client.Recvmsg(soon(t), make([]byte, 900), 0)
		if err != nil { // before the first Sendmsg
			require.ErrorIs(t, err, syscall.EAGAIN)
			continue
		}
		id := m.Control.CallID
		require.Zero(t, m.Control.Command)
		replies[id] = append(replies[id], m.Data...)
		if m.Flags&rxrpc.MsgEOR != 0 {
			ended++
			require.Equal(t, len(pattern(int(id)*100)), len(replies[id]))
			require.Equal(t, string(pattern(int(id)*100)), string(replies[id]))
		}
	}
}
