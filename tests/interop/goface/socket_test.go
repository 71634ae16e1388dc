//go:build linux

package goface_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

func newSocket(t *testing.T) *rxrpc.Socket {
	t.Helper()
	rig.World(t)
	s, err := rxrpc.NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ask makes a call of a socket, and returns the reply and what came with its end.
func ask(t *testing.T, s *rxrpc.Socket, id uint64, request []byte) ([]byte, rxrpc.Control) {
	t.Helper()
	tag := rxrpc.Control{CallID: id, HasCallID: true}
	half := len(request) / 2
	for _, m := range []rxrpc.Msg{{Control: tag, Data: request[:half], Flags: rxrpc.MsgMore}, {Control: tag, Data: request[half:]}} {
		_, err := s.Sendmsg(soon(t), m)
		require.NoError(t, err)
	}
	var reply []byte
	buf := make([]byte, 10_000)
	for {
		m, err := s.Recvmsg(soon(t), buf, 0)
		require.NoError(t, err)
		require.Equal(t, id, m.Control.CallID)
		reply = append(reply, m.Data...)
		if m.Flags&rxrpc.MsgEOR != 0 {
			return reply, m.Control
		}
	}
}

// TestOurSocketToLibrx: a client in the manner of AF_RXRPC, OpenAFS's library as the server.
func TestOurSocketToLibrx(t *testing.T) {
	peer := rig.Peer(t, netip.AddrPort{})
	s := newSocket(t)
	require.NoError(t, s.Connect(rxrpc.Addr{Service: rxp.ID, Addr: peer.Addr}))
	reply, end := ask(t, s, 1, words(rxp.Nop, 41))
	assert.Equal(t, words(42), reply)
	assert.Equal(t, rxrpc.Control{CallID: 1, HasCallID: true}, end)
	for i, n := range edges {
		request := append(words(rxp.Echo, uint32(n)), bytes.Repeat([]byte{byte(i)}, n)...)
		request = append(request, make([]byte, -n&3)...)
		reply, end = ask(t, s, 2, request)
		assert.Zero(t, end.Command, "%d bytes", n)
		assert.True(t, bytes.Equal(request[4:], reply), "%d bytes", n)
	}
	reply, end = ask(t, s, 3, words(rxp.Fail, 363524))
	assert.Empty(t, reply)
	assert.Equal(t, rxrpc.CtlAbort, end.Command)
	assert.EqualValues(t, 363524, end.Code)
}

// TestLibrxToOurSocket: OpenAFS's library as the client of one socket, of the first kind (RXRPC_NEW_CALL,
// RXRPC_ACCEPT).
func TestLibrxToOurSocket(t *testing.T) {
	s := newSocket(t)
	require.NoError(t, s.Bind(rxrpc.Addr{Service: rxp.ID, Addr: netip.MustParseAddrPort("127.0.0.1:0")}))
	require.NoError(t, s.Listen(100))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- answer(ctx, s) }()

	at := s.Getsockname().Addr
	for _, threads := range []string{"1", "8"} {
		r := rig.PeerMust(t, at, "-threads "+threads+" -secs 1 calls")
		assert.Positive(t, r.Fields["calls"])
	}
	for _, n := range []string{"0", "1400", "1411", "1412", "1413", "30000"} {
		rig.PeerMust(t, at, "-size "+n+" echo")
	}
	cancel()
	require.NoError(t, <-done)
}

// answer serves Nop and Echo until ctx ends.
func answer(ctx context.Context, s *rxrpc.Socket) error {
	requests := map[uint64][]byte{}
	buf := make([]byte, 65536)
	for next := uint64(1); ; {
		m, err := s.Recvmsg(ctx, buf, 0)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		tag := rxrpc.Control{CallID: m.Control.CallID, HasCallID: true}
		switch {
		case m.Control.Command == rxrpc.CtlNewCall:
			tag.CallID, tag.Command = next, rxrpc.CtlAccept
			next++
			_, err = s.Sendmsg(ctx, rxrpc.Msg{Control: tag})
		case m.Flags&rxrpc.MsgEOR != 0:
			delete(requests, tag.CallID)
		default:
			q := append(requests[tag.CallID], m.Data...)
			requests[tag.CallID] = q
			if m.Flags&rxrpc.MsgMore != 0 {
				continue
			}
			switch {
			case len(q) >= 8 && binary.BigEndian.Uint32(q) == rxp.Nop:
				q = binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(q[4:])+1)
			case len(q) >= 8 && binary.BigEndian.Uint32(q) == rxp.Echo:
				q = q[4:]
			default:
				tag.Command, tag.Code = rxrpc.CtlAbort, rxrpc.BadOpcode
				q = nil
			}
			_, err = s.Sendmsg(ctx, rxrpc.Msg{Control: tag, Data: q})
		}
		var one *rxrpc.SocketError
		if err != nil && ctx.Err() == nil && (!errors.As(err, &one) || !one.HasCallID) {
			return err
		}
	}
}
