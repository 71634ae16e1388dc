//go:build linux

package interop

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// TestReplyOutrunsTheWriter makes calls whose reply is there before the writer of
// the request has been told that it was sent.
func TestReplyOutrunsTheWriter(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	c := dial(t, p.Addr, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for n := range uint64(100) {
				if !assert.NoError(t, c.Sink(soon(t), n%5, true)) || !assert.NoError(t, c.Source(soon(t), n%5, true)) {
					return
				}
			}
		})
	}
	wg.Wait()
	drain(t, c.Endpoint())
}

// TestReach meets a server that wants to see that its caller is there before it
// executes the first call.
func TestReach(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{}, "-reach")
	c := dial(t, p.Addr, nil)
	reply, err := c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 0, 2}, reply)
	require.NoError(t, c.Source(soon(t), 100_000, true))
	drain(t, c.Endpoint())
}

// TestSlowCalls keeps calls alive that take longer than either side waits for a
// silent one.
func TestSlowCalls(t *testing.T) {
	t.Run("our client", func(t *testing.T) {
		t.Parallel()
		p := rig.Peer(t, netip.AddrPort{})
		c := dial(t, p.Addr, &rxrpc.Config{Timers: rxrpc.Timers{HeardNothing: 10e9}})
		_, err := c.Do(soon(t), rxp.Delay, 15000)
		require.NoError(t, err)
		drain(t, c.Endpoint())
	})
	t.Run("our server", func(t *testing.T) {
		t.Parallel()
		s := serve(t, loopback, nil)
		rig.PeerMust(t, s.Endpoint().LocalAddr(), "-dead 12 delay 15000")
	})
}

// TestAllChannels has four callers on one connection.
func TestAllChannels(t *testing.T) {
	s := serve(t, loopback, nil)
	r := rig.PeerMust(t, s.Endpoint().LocalAddr(), "-threads 4 -conns 1 -secs 1 calls")
	assert.GreaterOrEqual(t, r.Fields["calls"], 4.0)
	assert.Equal(t, 1, s.Endpoint().Stats().ServiceConns)
}

// TestServerHangs stops the peer's process for longer than OpenAFS's servers
// do while they write to disk; and for good.
func TestServerHangs(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	c := dial(t, p.Addr, &rxrpc.Config{Timers: rxrpc.Timers{HeardNothing: 6e9}})
	_, err := c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
	require.NoError(t, p.Stop())
	_, err = c.Do(soon(t), rxp.Nop, 1)
	var abort *rxrpc.AbortError
	require.ErrorAs(t, err, &abort)
	assert.True(t, abort.Timeout(), "%v", err)
	require.NoError(t, p.Continue())
	_, err = c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
	drain(t, c.Endpoint())
}

// TestServerRestarts has a call run when its server is killed and another takes
// its port; calls after that go to the new one.
func TestServerRestarts(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	acked := make(chan struct{}, 64)
	c := dial(t, p.Addr, &rxrpc.Config{
		Timers: rxrpc.Timers{HeardNothing: 8e9},
		Hooks: &rxrpc.Hooks{Packet: func(out bool, _ netip.AddrPort, b []byte) {
			if !out && len(b) > 20 && b[20] == 2 { // ACK
				select {
				case acked <- struct{}{}:
				default:
				}
			}
		}},
	})
	slow := make(chan error, 1)
	go func() {
		_, err := c.Do(soon(t), rxp.Delay, 20000)
		slow <- err
	}()
	<-acked // the server has the request
	require.NoError(t, p.Close())
	rig.Peer(t, p.Addr)
	require.Error(t, <-slow)
	_, err := c.Do(soon(t), rxp.Nop, 1)
	require.NoError(t, err)
	drain(t, c.Endpoint())
}
