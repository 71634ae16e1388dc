package rxrpc_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestUnrelatedUsersShareAnEndpoint: clients and servers that know nothing of each other
// have one UDP port, which outlives them for a while.
func TestUnrelatedUsersShareAnEndpoint(t *testing.T) {
	t.Cleanup(rxrpc.CloseShared)
	a, err := rxrpc.Shared(local4, nil)
	require.NoError(t, err)
	b, err := rxrpc.Shared(local4, &rxrpc.Config{Version: "does not count"})
	require.NoError(t, err)
	assert.Same(t, a, b)
	six, err := rxrpc.Shared(local6, nil)
	require.NoError(t, err)
	assert.NotSame(t, a, six)
	require.NoError(t, six.Close())

	s := rxrpc.NewServer(a, nil)
	require.NoError(t, s.Handle(1, echo))
	other := serve(t, nil, map[uint16]rxrpc.Handler{2: echo})
	got, err := b.Client(other.Endpoint().LocalAddr(), nil).Call(soon(t), 2, []byte("out"))
	require.NoError(t, err)
	assert.Equal(t, "out", string(got))
	got, err = client(t, s, nil).Call(soon(t), 1, []byte("in"))
	require.NoError(t, err)
	assert.Equal(t, "in", string(got))
	got, err = b.Client(a.LocalAddr(), nil).Call(soon(t), 1, []byte("itself"))
	require.NoError(t, err)
	assert.Equal(t, "itself", string(got))
	require.NoError(t, s.Close())

	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	require.Error(t, b.Close(), "once for each user")
	again, err := rxrpc.Shared(local4, nil)
	require.NoError(t, err)
	assert.Same(t, a, again, "retained")
	require.NoError(t, again.Close())
	rxrpc.CloseShared()
	fresh, err := rxrpc.Shared(local4, &rxrpc.Config{Retain: -1})
	require.NoError(t, err)
	assert.NotSame(t, a, fresh)
	require.NoError(t, fresh.Close())
	next, err := rxrpc.Shared(local4, &rxrpc.Config{Retain: -1})
	require.NoError(t, err)
	assert.NotSame(t, fresh, next, "not retained")
	require.NoError(t, next.Close())
}

// TestServersThatGoThroughPorts: the ports of servers that have ended are retained, but not all of them.
func TestServersThatGoThroughPorts(t *testing.T) {
	pool := rxrpc.NewPool(nil)
	defer pool.CloseUnused()
	var last rxrpc.Addr
	var first *rxrpc.Endpoint
	for i := range 40 {
		s, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Pool: pool, Endpoint: &rxrpc.Config{Retain: time.Hour}})
		require.NoError(t, err)
		require.NoError(t, s.Bind(rxrpc.Addr{Service: 52, Addr: local4}))
		last = rxrpc.Addr{Service: 52, Addr: s.Getsockname().Addr}
		require.NoError(t, s.Close())
		if i == 0 {
			first = pool.Endpoints()[0]
		}
		require.LessOrEqual(t, len(pool.Endpoints()), 16)
	}
	assert.Len(t, pool.Endpoints(), 16)
	assert.False(t, slices.Contains(pool.Endpoints(), first), "the first to go is the first that came")

	// One that somebody uses again is not among those that may go.
	user, err := pool.Shared(last.Addr, nil)
	require.NoError(t, err)
	for range 40 {
		s, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Pool: pool, Endpoint: &rxrpc.Config{Retain: time.Hour}})
		require.NoError(t, err)
		require.NoError(t, s.Bind(rxrpc.Addr{Service: 52, Addr: local4}))
		require.NoError(t, s.Close())
	}
	assert.Contains(t, pool.Endpoints(), user)
	assert.Len(t, pool.Endpoints(), 17)
	require.NoError(t, user.Close())
	assert.Len(t, pool.Endpoints(), 16)
}

func TestDial(t *testing.T) {
	t.Cleanup(rxrpc.CloseShared)
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: echo})
	c, err := rxrpc.Dial(s.Endpoint().LocalAddr().String(), nil)
	require.NoError(t, err)
	got, err := c.Call(soon(t), 1, []byte("x"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(got))
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	_, err = rxrpc.Dial("nonsense", nil)
	require.Error(t, err)
}

// TestLastUserLeavesNothingOwed: the end of a reply is acknowledged when the last user of an endpoint closes it, and not
// when another call, or its time, comes: its program may be about to end.
func TestLastUserLeavesNothingOwed(t *testing.T) {
	server, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local4)) // one that never sends again
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	require.NoError(t, server.SetDeadline(time.Now().Add(2*time.Minute)))
	buf := make([]byte, 2048)
	next := func() (datagram []byte, from netip.AddrPort) {
		n, from, err := server.ReadFromUDPAddrPort(buf)
		require.NoError(t, err)
		return buf[:n], from
	}

	pool := rxrpc.NewPool(nil)
	t.Cleanup(pool.CloseUnused)
	e, err := pool.Shared(local4, &rxrpc.Config{Retain: time.Hour, Timers: rxrpc.Timers{FinalAck: time.Hour}})
	require.NoError(t, err)
	other, err := pool.Shared(local4, nil)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := e.Client(server.LocalAddr().(*net.UDPAddr).AddrPort(), nil).Call(soon(t), 1, []byte("x"))
		done <- err
	}()
	const lastPacket, data, ack, ping, idle = 0x04, 1, 2, 6, 9
	b, from := next()
	require.EqualValues(t, data, b[20])
	b[21] = lastPacket
	_, err = server.WriteToUDPAddrPort(append(b[:28], "reply"...), from)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.NoError(t, e.Close())
	require.NoError(t, other.Close())
	for b, _ = next(); b[20] == data || b[20] == ack && b[28+16] == ping; b, _ = next() {
		// Sent again, and asked about, as the answer took its time.
	}
	require.EqualValues(t, ack, b[20])
	require.EqualValues(t, idle, b[28+16], "its reason")
}
