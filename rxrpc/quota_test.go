package rxrpc_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestSocketAcceptsByItselfWithinLimits: of calls of which nothing was received as many as the backlog, and MaxCalls of all; more are told
// BUSY, and nothing of them stays.
func TestSocketAcceptsByItselfWithinLimits(t *testing.T) {
	for name, cfg := range map[string]*rxrpc.SocketConfig{
		"backlog": {AutoAccept: true},
		"calls":   {AutoAccept: true, MaxCalls: 3},
	} {
		t.Run(name, func(t *testing.T) {
			server := socket(t, cfg)
			require.NoError(t, server.Bind(at(52, local4)))
			backlog := 3
			if cfg.MaxCalls > 0 {
				backlog = 100
			}
			require.NoError(t, server.Listen(backlog))
			client := connected(t, server, &rxrpc.SocketConfig{BusyEnds: true})
			for i := range uint64(3) {
				sends(t, client, rxrpc.Msg{Control: tag(i), Data: []byte("request")})
			}
			for i := uint64(3); i < 40; i++ {
				sends(t, client, rxrpc.Msg{Control: tag(i), Data: []byte("request")})
				m := receives(t, client, 0)
				require.Equal(t, command(i, rxrpc.CtlBusy), m.Control)
			}
			got, _ := phase(t, server, rxrpc.AutoTag|1)
			assert.Equal(t, "request", string(got))
			if cfg.MaxCalls > 0 { // one that was received is still there
				sends(t, client, rxrpc.Msg{Control: tag(50), Data: []byte("request")})
				require.Equal(t, command(50, rxrpc.CtlBusy), receives(t, client, 0).Control)
			}
			sends(t, server, rxrpc.Msg{Control: tag(rxrpc.AutoTag | 1), Data: []byte("reply")})
			got, _ = phase(t, client, 0)
			assert.Equal(t, "reply", string(got))
			for _, i := range []uint64{2, 3} {
				got, _ = phase(t, server, rxrpc.AutoTag|i)
				assert.Equal(t, "request", string(got))
			}
			assert.Equal(t, command(rxrpc.AutoTag|1, rxrpc.CtlAck), receives(t, server, 0).Control)
			sends(t, client, rxrpc.Msg{Control: tag(60), Data: []byte("now there is room")})
			got, _ = phase(t, server, rxrpc.AutoTag|4)
			assert.Equal(t, "now there is room", string(got))
		})
	}
}

// TestGroupsDoNotWaitForEachOther: one group has all the channels to a peer that calls of its kind may have; another one gets its own.
func TestGroupsDoNotWaitForEachOther(t *testing.T) {
	server := listening(t, 52, nil)
	pool := rxrpc.NewPool(nil)
	t.Cleanup(pool.CloseUnused)
	of := func(group uint64) *rxrpc.Socket {
		return connected(t, server, &rxrpc.SocketConfig{
			Pool: pool, Group: group, Endpoint: &rxrpc.Config{Limits: rxrpc.Limits{ConnsPerBundle: 1}},
		})
	}
	greedy, same, other := of(1), of(1), of(2)
	for id := range uint64(4) {
		sends(t, greedy, rxrpc.Msg{Control: tag(id)})
	}
	next := rxrpc.Msg{Control: tag(9), Flags: rxrpc.MsgDontWait}
	_, err := same.Sendmsg(soon(t), next)
	require.ErrorIs(t, err, syscall.EAGAIN)
	_, err = other.Sendmsg(soon(t), next)
	require.NoError(t, err)
	assert.Equal(t, greedy.Getsockname(), other.Getsockname(), "they share the endpoint all the same")
}
