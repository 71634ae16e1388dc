package rxrpc_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// outcome is what a Submission was done with.
type outcome struct {
	n   int
	err error
}

// submits submits a message and returns where its outcome comes.
func submits(s *rxrpc.Socket, m rxrpc.Msg) (<-chan outcome, *rxrpc.Submission) {
	c := make(chan outcome, 1)
	return c, s.Submit(m, func(n int, err error) { c <- outcome{n, err} })
}

func result(t testing.TB, c <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-c:
		return o
	case <-soon(t).Done():
		require.Fail(t, "a submission is never done")
		return outcome{}
	}
}

// relayed is a socket of who relays messages: a window, and a notice when there is something.
func relayed(t testing.TB, cfg rxrpc.SocketConfig) (*rxrpc.Socket, func() rxrpc.Received) {
	t.Helper()
	news := make(chan struct{}, 1)
	cfg.Notify = func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	s := socket(t, &cfg)
	buf := make([]byte, 1<<16)
	return s, func() rxrpc.Received {
		t.Helper()
		for {
			if r, ok := s.Receive(buf, 0); ok {
				return r
			}
			select {
			case <-news:
			case <-soon(t).Done():
				require.Fail(t, "nothing to receive")
			}
		}
	}
}

// TestSubmitAndReceive: the two that do not wait, on both sides, for calls of any length.
func TestSubmitAndReceive(t *testing.T) {
	server, atServer := relayed(t, rxrpc.SocketConfig{})
	require.NoError(t, server.Bind(at(52, local4)))
	require.NoError(t, server.Listen(10))
	client, atClient := relayed(t, rxrpc.SocketConfig{})
	require.NoError(t, client.Connect(server.Getsockname()))
	receive := func(next func() rxrpc.Received, id uint64) (data []byte) {
		for {
			r := next()
			require.Equal(t, tag(id), r.Control)
			require.Equal(t, rxrpc.MarkData, r.Mark)
			data = append(data, r.Data...)
			if r.Last {
				return data
			}
		}
	}
	for _, size := range []int{0, 1, 1412, 400000, 1200000} {
		request, reply := pattern(size), pattern(size/2+1)
		charged, _ := submits(server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
		require.NoError(t, result(t, charged).err)
		half := size / 2
		first, _ := submits(client, rxrpc.Msg{Control: tag(9), Flags: rxrpc.MsgMore, Data: request[:half]})
		second, _ := submits(client, rxrpc.Msg{Control: tag(9), Data: request[half:]})
		assert.Equal(t, string(request), string(receive(atServer, 1)))
		assert.Equal(t, outcome{half, nil}, result(t, first))
		assert.Equal(t, outcome{size - half, nil}, result(t, second))
		done, _ := submits(server, rxrpc.Msg{Control: tag(1), Data: reply})
		assert.Equal(t, string(reply), string(receive(atClient, 9)))
		assert.Equal(t, outcome{len(reply), nil}, result(t, done))
		r := atServer()
		assert.Equal(t, command(1, rxrpc.CtlAck), r.Control)
		assert.Equal(t, rxrpc.MarkFinalAck, r.Mark)
	}
}

// TestWindowOfACall: a call whose window is used up waits, another does not; its end is told only
// after its data.
func TestWindowOfACall(t *testing.T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{9: echo})
	c, next := relayed(t, rxrpc.SocketConfig{Window: 1000})
	require.NoError(t, c.Connect(at(9, s.Endpoint().LocalAddr())))
	big, small := pattern(50000), pattern(1000)
	stalled, _ := submits(c, rxrpc.Msg{Control: tag(1), Data: big})
	require.NoError(t, result(t, stalled).err)
	r := next()
	assert.Len(t, r.Data, 1000)
	assert.False(t, r.Last)
	got := append([]byte(nil), r.Data...)
	for id := uint64(2); id < 10; id++ {
		submits(c, rxrpc.Msg{Control: tag(id), Data: small})
		r := next()
		assert.Equal(t, tag(id), r.Control)
		assert.Equal(t, small, r.Data)
		assert.Equal(t, rxrpc.MsgEOR, r.Flags)
	}
	for n := 1; len(got) < len(big); n++ {
		require.True(t, c.Window(1, n*100))
		r := next()
		require.LessOrEqual(t, len(r.Data), n*100)
		got = append(got, r.Data...)
	}
	assert.Equal(t, big, got)
	assert.False(t, c.Window(1, 1), "the call is over")
}

// TestSubmissionsThatFail: each is told, once, and says whether there is a call.
func TestSubmissionsThatFail(t *testing.T) {
	server := listening(t, 52, nil) // nobody accepts
	c, next := relayed(t, rxrpc.SocketConfig{})
	o, u := submits(c, rxrpc.Msg{Control: tag(1), Data: []byte("where to?")})
	noCall := func(o outcome) bool {
		var e *rxrpc.SocketError
		require.ErrorAs(t, o.err, &e)
		return e.NoCall
	}
	failed := result(t, o)
	require.ErrorIs(t, failed.err, syscall.EDESTADDRREQ)
	assert.True(t, noCall(failed))
	u.Cancel(context.Canceled, func(cancelled bool) { assert.False(t, cancelled) })

	require.NoError(t, c.Connect(server.Getsockname()))
	var last <-chan outcome
	var lastU *rxrpc.Submission
	for range 40 { // more than the endpoint takes of a call that nobody reads
		last, lastU = submits(c, rxrpc.Msg{Control: tag(2), Flags: rxrpc.MsgMore, Data: pattern(100000)})
	}
	require.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)
	told := make(chan bool, 1)
	lastU.Cancel(syscall.ECANCELED, func(c bool) { told <- c })
	assert.True(t, <-told)
	failed = result(t, last)
	require.ErrorIs(t, failed.err, syscall.ECANCELED)
	assert.False(t, noCall(failed))
	waiting, _ := submits(c, rxrpc.Msg{Control: tag(2), Data: pattern(100000)})
	abort := command(2, rxrpc.CtlAbort)
	abort.Code = 17
	aborted, _ := submits(c, rxrpc.Msg{Control: abort})
	require.NoError(t, result(t, aborted).err)
	require.Error(t, result(t, waiting).err)
	r := next()
	assert.Equal(t, abort, r.Control)
	assert.Equal(t, rxrpc.MarkLocalError, r.Mark)

	for range 40 {
		last, _ = submits(c, rxrpc.Msg{Control: tag(3), Flags: rxrpc.MsgMore, Data: pattern(100000)})
	}
	require.NoError(t, c.Close())
	require.ErrorIs(t, result(t, last).err, syscall.EBADF)
	o, _ = submits(c, rxrpc.Msg{Control: tag(4)})
	require.ErrorIs(t, result(t, o).err, syscall.EBADF)
}

// TestSubmissionsThatWaitForAChannel: a call that gets none can be given up, as if it had not been.
func TestSubmissionsThatWaitForAChannel(t *testing.T) {
	server := listening(t, 52, nil)
	c, _ := relayed(t, rxrpc.SocketConfig{Endpoint: &rxrpc.Config{Limits: rxrpc.Limits{ConnsPerBundle: 1}, Retain: -1}})
	require.NoError(t, c.Bind(at(0, local4)))
	require.NoError(t, c.Connect(server.Getsockname()))
	for id := range uint64(4) {
		o, _ := submits(c, rxrpc.Msg{Control: tag(id), Data: []byte("x")})
		require.NoError(t, result(t, o).err)
	}
	first, u := submits(c, rxrpc.Msg{Control: tag(5), Flags: rxrpc.MsgMore, Data: []byte("x")})
	second, _ := submits(c, rxrpc.Msg{Control: tag(5), Data: []byte("y")})
	now, _ := submits(c, rxrpc.Msg{Control: tag(6), Flags: rxrpc.MsgDontWait, Data: []byte("y")})
	require.ErrorIs(t, result(t, now).err, syscall.EAGAIN)
	u.Cancel(syscall.ECANCELED, nil)
	require.ErrorIs(t, result(t, first).err, syscall.ECANCELED)
	require.ErrorIs(t, result(t, second).err, syscall.ECANCELED)
	again, _ := submits(c, rxrpc.Msg{Control: tag(5), Data: []byte("x")})
	abort := command(0, rxrpc.CtlAbort)
	abort.Code = 1
	submits(c, rxrpc.Msg{Control: abort})
	require.NoError(t, result(t, again).err, "the channel of the call that was aborted")
}
