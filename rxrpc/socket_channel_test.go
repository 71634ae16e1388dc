package rxrpc_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// TestSocketCallsWaitForChannels: rows "call AWAIT_CONN" and "id raced with another creator" of section 5.5.
func TestSocketCallsWaitForChannels(t *testing.T) {
	server := listening(t, 52, nil)
	client := socket(t, &rxrpc.SocketConfig{Endpoint: &rxrpc.Config{Limits: rxrpc.Limits{ConnsPerBundle: 1}}})
	require.NoError(t, client.Bind(at(0, local4)))
	to := server.Getsockname()
	for id := range uint64(4) {
		sends(t, client, rxrpc.Msg{Name: to, Control: tag(id)})
	}
	_, err := client.Sendmsg(soon(t), rxrpc.Msg{Name: to, Control: tag(4), Flags: rxrpc.MsgDontWait})
	require.ErrorIs(t, err, syscall.EAGAIN, "no channel")

	sent := make(chan error)
	go func() {
		_, err := client.Sendmsg(soon(t), rxrpc.Msg{Name: to, Control: tag(4), Data: []byte("fifth")})
		sent <- err
	}()
	for seen := false; !seen; { // until the other one has begun
		_, err = client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(4), Flags: rxrpc.MsgDontWait})
		seen = errorsIs(err, syscall.EBUSY)
		require.True(t, seen || errorsIs(err, syscall.EEXIST) || errorsIs(err, syscall.EDESTADDRREQ), "%v", err)
	}
	done := command(0, rxrpc.CtlAbort)
	done.Code = 9
	sends(t, client, rxrpc.Msg{Control: done})
	require.NoError(t, <-sent)
	assert.Equal(t, done, receives(t, client, 0).Control)

	go func() {
		_, err := client.Sendmsg(soon(t), rxrpc.Msg{Name: to, Control: tag(5)})
		sent <- err
	}()
	abort := command(5, rxrpc.CtlAbort)
	abort.Code = 3
	for err = errno.BadSlot; err != nil; {
		_, err = client.Sendmsg(soon(t), rxrpc.Msg{Control: abort})
		require.True(t, err == nil || errorsIs(err, errno.BadSlot) || errorsIs(err, syscall.EEXIST), "%v", err)
	}
	require.ErrorIs(t, <-sent, syscall.ECONNABORTED, "aborted while it waited")
	sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlChargeAccept)})
}
