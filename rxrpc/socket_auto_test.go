package rxrpc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestSocketAcceptsByItself: calls have tags when their data come, and nobody is told of new ones.
func TestSocketAcceptsByItself(t *testing.T) {
	server := listening(t, 52, &rxrpc.SocketConfig{AutoAccept: true})
	client := connected(t, server, nil)
	for i := range uint64(3) {
		sends(t, client, rxrpc.Msg{Control: tag(i), Data: []byte("request")})
		got, _ := phase(t, server, rxrpc.AutoTag|(i+1))
		assert.Equal(t, "request", string(got))
		sends(t, server, rxrpc.Msg{Control: tag(rxrpc.AutoTag | (i + 1)), Data: []byte("reply")})
		got, flags := phase(t, client, i)
		assert.Equal(t, "reply", string(got))
		assert.Equal(t, rxrpc.MsgEOR, flags)
		assert.Equal(t, rxrpc.CtlAck, receives(t, server, 0).Control.Command)
	}
}

// TestSocketWithAPortOfItsOwn: clients share a port unless they do not want to.
func TestSocketWithAPortOfItsOwn(t *testing.T) {
	ports := make(map[uint16]int)
	for _, own := range []bool{false, false, true, true} {
		s := socket(t, &rxrpc.SocketConfig{OwnPort: own})
		require.NoError(t, s.Bind(at(0, local4)))
		ports[s.Getsockname().Addr.Port()]++
	}
	assert.Len(t, ports, 3)
}
