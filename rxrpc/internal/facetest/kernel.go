package facetest

import (
	"errors"
	"syscall"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// intercepted is what an interceptor got.
type intercepted struct {
	id uint64
	m  *RxMessage
}

// kernel is the kernel interface of a socket, with an interceptor.
func kernel(t *T, s Socket) (Kernel, <-chan intercepted) {
	t.Helper()
	k := t.f.NewKernel(s)
	got := make(chan intercepted, 100)
	require.NoError(t, k.InterceptRxMessages(func(from Socket, id uint64, m *RxMessage) {
		assert.Same(t, s, from)
		got <- intercepted{id, m}
	}))
	return k, got
}

// await returns the next message.
func await(t *T, got <-chan intercepted, mark rxrpc.Mark) intercepted {
	t.Helper()
	select {
	case i := <-got:
		require.Equal(t, mark.String(), i.m.Mark.String())
		return i
	case <-soon(t).Done():
		require.Fail(t, "no message", "%v", mark)
		return intercepted{}
	}
}

// allData takes a phase.
func allData(t *T, k Kernel, got <-chan intercepted) (data []byte) {
	t.Helper()
	for {
		i := await(t, got, rxrpc.MarkData)
		data = append(data, i.m.Data...)
		last := k.IsDataLast(i.m)
		k.DataDelivered(i.m)
		k.DataDelivered(i.m) // once counts
		if last {
			return data
		}
	}
}

// TestKernelServiceOfTheFirstKind: the interface of 2.6.22 on both sides: DATA, FINAL_ACK, NEW_CALL.
func testKernelServiceOfTheFirstKind(t *T) {
	ss := listening(t, 52, nil)
	server, atServer := kernel(t, ss)
	client, atClient := kernel(t, connected(t, ss, nil))
	require.ErrorIs(t, client.InterceptRxMessages(nil), syscall.EBUSY)
	for _, size := range []int{0, 1500, 500000} {
		call, err := client.BeginCall(soon(t), BeginParams{UserID: 5, NoKey: true, TxLength: int64(size), HasTxLength: true})
		require.NoError(t, err)
		assert.Equal(t, uint64(5), call.UserID())
		assert.True(t, client.CheckLife(call))
		go func() {
			_, err := client.SendData(soon(t), call, pattern(size), false)
			assert.NoError(t, err)
		}()
		i := await(t, atServer, rxrpc.MarkNewCall)
		assert.Nil(t, i.m.Call)
		server.Free(i.m)
		taken, err := server.AcceptCall(9)
		require.NoError(t, err)
		assert.Equal(t, pattern(size), append([]byte{}, allData(t, server, atServer)...))
		require.NoError(t, server.SetTxLength(taken, int64(size+1)))
		go func() {
			_, err := server.SendData(soon(t), taken, pattern(size + 1)[:size], true)
			assert.NoError(t, err)
			_, err = server.SendData(soon(t), taken, pattern(size + 1)[size:], false)
			assert.NoError(t, err)
		}()
		assert.Equal(t, pattern(size+1), allData(t, client, atClient))
		i = await(t, atServer, rxrpc.MarkFinalAck)
		assert.Equal(t, uint64(9), i.id)
		assert.Same(t, taken, i.m.Call)
		assert.Equal(t, uint16(52), i.m.Peer.Service)
		assert.False(t, client.AbortCall(call, 1), "it is over")
		client.EndCall(call)
		server.EndCall(taken)
		assert.False(t, server.CheckLife(taken))
	}
}

// TestKernelServiceFailures: REMOTE_ABORT, LOCAL_ERROR, BUSY and NET_ERROR, with their numbers.
func testKernelServiceFailures(t *T) {
	ss := listening(t, 52, nil)
	server, atServer := kernel(t, ss)
	cs := socket(t, &rxrpc.SocketConfig{BusyEnds: true})
	client, atClient := kernel(t, cs)
	begin := func(id uint64, to rxrpc.Addr) KernelCall {
		call, err := client.BeginCall(soon(t), BeginParams{UserID: id, Peer: to})
		require.NoError(t, err)
		_, err = client.SendData(soon(t), call, []byte("x"), false)
		require.NoError(t, err)
		return call
	}
	_, err := client.BeginCall(soon(t), BeginParams{UserID: 1})
	require.ErrorIs(t, err, syscall.EDESTADDRREQ)
	_, err = server.AcceptCall(1)
	require.ErrorIs(t, err, syscall.ENODATA)
	require.ErrorIs(t, server.RejectCall(), syscall.ENODATA)

	call := begin(1, ss.Getsockname())
	_, err = client.BeginCall(soon(t), BeginParams{UserID: 1, Peer: ss.Getsockname()})
	require.ErrorIs(t, err, syscall.EEXIST)
	await(t, atServer, rxrpc.MarkNewCall)
	taken, err := server.AcceptCall(2)
	require.NoError(t, err)
	allData(t, server, atServer)
	assert.True(t, server.AbortCall(taken, 1234))
	i := await(t, atClient, rxrpc.MarkRemoteAbort)
	assert.Equal(t, int32(1234), client.AbortCode(i.m))
	assert.Equal(t, syscall.ECONNABORTED, client.ErrorNumber(i.m))
	i = await(t, atServer, rxrpc.MarkLocalError)
	assert.Equal(t, int32(1234), server.AbortCode(i.m))
	client.EndCall(call)
	server.EndCall(taken)

	call = begin(1, ss.Getsockname())
	await(t, atServer, rxrpc.MarkNewCall)
	require.NoError(t, server.RejectCall())
	i = await(t, atClient, rxrpc.MarkBusy)
	assert.Equal(t, syscall.EBUSY, client.ErrorNumber(i.m))
	client.EndCall(call)

	nobody := open(t, local4, nil)
	addr := nobody.LocalAddr()
	require.NoError(t, nobody.Close())
	call = begin(3, at(52, addr))
	i = await(t, atClient, rxrpc.MarkNetError)
	assert.Equal(t, syscall.ECONNREFUSED, client.ErrorNumber(i.m))
	client.EndCall(call)

	// A call that is given up before anybody takes it.
	call = begin(4, ss.Getsockname())
	await(t, atServer, rxrpc.MarkNewCall)
	assert.True(t, client.AbortCall(call, 5))
	await(t, atClient, rxrpc.MarkLocalError)
	client.EndCall(call)
	begin(5, ss.Getsockname()) // comes after the abort
	await(t, atServer, rxrpc.MarkNewCall)
	require.ErrorIs(t, server.RejectCall(), syscall.ECONNABORTED)
	require.NoError(t, server.RejectCall())
	await(t, atClient, rxrpc.MarkBusy)
}

// TestKernelServiceOfToday: charges with numbers, and RecvData with its results.
func testKernelServiceOfToday(t *T) {
	ss := listening(t, 52, nil)
	server := t.f.NewKernel(ss)
	client := t.f.NewKernel(connected(t, ss, nil))
	woken := make(chan struct{}, 100)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	spare, err := server.ChargeAccept(1, wake)
	require.NoError(t, err)
	_, err = server.ChargeAccept(1, wake)
	require.ErrorIs(t, err, errno.BadSlot)
	server.EndCall(spare)
	taken, err := server.ChargeAccept(7, wake)
	require.NoError(t, err)
	_, err = client.Socket().Sendmsg(soon(t), rxrpc.Msg{Control: tag(0), Data: nil, Flags: rxrpc.MsgMore})
	require.NoError(t, err)

	call, err := client.BeginCall(soon(t), BeginParams{UserID: 1, Notify: wake})
	require.NoError(t, err)
	_, err = client.SendData(soon(t), call, []byte("request"), false)
	require.NoError(t, err)
	receive := func(k Kernel, c KernelCall, n int, wantMore bool) (string, int, error) {
		p := make([]byte, n)
		for have := 0; ; {
			k, status, err := k.RecvData(c, p[have:], wantMore)
			have += k
			if !errors.Is(err, syscall.EAGAIN) {
				return string(p[:have]), status, err
			}
			select {
			case <-woken:
			case <-soon(t).Done():
				return "", 0, err
			}
		}
	}
	got, status, err := receive(server, taken, 3, true)
	require.NoError(t, err)
	assert.Equal(t, "req", got)
	assert.Equal(t, rxrpc.RecvMore, status)
	_, _, err = receive(server, taken, 1, false)
	require.ErrorIs(t, err, syscall.EMSGSIZE)
	got, status, err = receive(server, taken, 3, false)
	require.NoError(t, err)
	assert.Equal(t, "est", got)
	assert.Equal(t, rxrpc.RecvRequest, status)
	assert.Equal(t, client.Socket().Poll()&rxrpc.PollIn, rxrpc.PollEvents(0))

	_, err = server.SendData(soon(t), taken, []byte("reply"), false)
	require.NoError(t, err)
	got, status, err = receive(client, call, 5, false)
	require.NoError(t, err)
	assert.Equal(t, "reply", got)
	assert.Equal(t, rxrpc.RecvEnd, status)
	_, _, err = receive(client, call, 1, false)
	require.ErrorIs(t, err, syscall.EBADMSG)
	assert.False(t, client.CheckLife(call))
	client.EndCall(call)

	again, err := client.BeginCall(soon(t), BeginParams{UserID: 1, Notify: wake})
	require.NoError(t, err)
	_, err = client.SendData(soon(t), again, []byte("request"), false)
	require.NoError(t, err)
	other, err := server.ChargeAccept(8, wake)
	require.NoError(t, err)
	_, _, err = receive(server, other, 7, false)
	require.NoError(t, err)
	assert.True(t, server.AbortCall(other, 99))
	var a *rxrpc.AbortError
	_, _, err = receive(client, again, 1, false)
	require.ErrorAs(t, err, &a)
	assert.Equal(t, int32(99), a.Code)
	require.ErrorIs(t, err, syscall.ECONNABORTED)
	_, ok := client.SRTT(again)
	assert.False(t, ok, "the call is over")
	require.NoError(t, server.Socket().Listen(0))
	_, err = server.ChargeAccept(3, nil)
	require.ErrorIs(t, err, syscall.ESHUTDOWN)
}

// TestRecvDataBesideInterceptor: data that RecvData reads open the window of their call when the socket has an interceptor, too.
func testRecvDataBesideInterceptor(t *T) {
	ss := listening(t, 52, nil)
	server, _ := kernel(t, ss)
	client := t.f.NewKernel(connected(t, ss, nil))
	woken := make(chan struct{}, 1)
	taken, err := server.ChargeAccept(7, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	require.NoError(t, err)
	call, err := client.BeginCall(soon(t), BeginParams{UserID: 1})
	require.NoError(t, err)
	want := pattern(900000)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, err := client.SendData(soon(t), call, want, false)
		assert.NoError(t, err)
	}()
	got := make([]byte, len(want))
	for have := 0; have < len(got); {
		n, _, err := server.RecvData(taken, got[have:], false)
		if have += n; !errors.Is(err, syscall.EAGAIN) {
			require.NoError(t, err)
			continue
		}
		select {
		case <-woken:
		case <-soon(t).Done():
			require.Fail(t, "no more comes", "after %d bytes", have)
		}
	}
	assert.Equal(t, string(want), string(got))
	<-sent
}
