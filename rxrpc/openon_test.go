package rxrpc_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tsocket"
)

// openOn makes an endpoint on d that is closed at the end of the test.
func openOn(t testing.TB, d *tsocket.Dgram, cfg *rxrpc.Config) *rxrpc.Endpoint {
	t.Helper()
	e, err := rxrpc.OpenOn(d, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// conversation has a call b, then b call a, many at a time and with much data.
func conversation(t *testing.T, a, b *rxrpc.Endpoint) {
	for _, e := range []*rxrpc.Endpoint{a, b} {
		s := rxrpc.NewServer(e, nil)
		t.Cleanup(func() { _ = s.Close() })
		require.NoError(t, s.Handle(1, echo))
		require.NoError(t, s.Handle(2, echoStream))
	}
	var all sync.WaitGroup
	for _, way := range [][2]*rxrpc.Endpoint{{a, b}, {b, a}} {
		c := way[0].Client(way[1].LocalAddr(), nil)
		for i := range 16 {
			all.Go(func() {
				for j := range 20 {
					want := pattern(i*50 + j)
					got, err := c.Call(soon(t), 1, want)
					assert.NoError(t, err)
					assert.True(t, bytes.Equal(want, got))
				}
			})
		}
		for range 2 {
			all.Go(func() {
				want := pattern(1 << 20)
				call, err := c.NewCall(soon(t), 2)
				if !assert.NoError(t, err) {
					return
				}
				_, err = call.Write(want)
				assert.NoError(t, err)
				assert.NoError(t, call.CloseWrite())
				got, err := io.ReadAll(call)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(want, got))
				assert.Equal(t, c.Peer(), call.Peer())
			})
		}
	}
	all.Wait()
	require.NoError(t, a.Wait(soon(t)))
	require.NoError(t, b.Wait(soon(t)))
}

// The sockets of PipeDgram have no addresses, and their sends wait: both sides
// send much at a time, and neither holds up the other.
func TestEndpointsOnAPairInMemory(t *testing.T) {
	c, d := tsocket.PipeDgram()
	a, b := openOn(t, c, nil), openOn(t, d, nil)
	require.Equal(t, rxrpc.OnlyPeer(), a.LocalAddr())
	conversation(t, a, b)

	_, err := a.Client(netip.MustParseAddrPort("192.0.2.1:7000"), nil).Call(soon(t), 1, nil)
	require.ErrorIs(t, err, syscall.ENETUNREACH, "there is only one peer")
}

func TestEndpointsOnAPairOfUnixSockets(t *testing.T) {
	c, d, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	conversation(t, openOn(t, c, nil), openOn(t, d, nil))
}

func TestEndpointsOnUDPOfSomebody(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		local := tsocket.MustAddr(tsocket.ParseIP("ip", ip, 0))
		one := func() *rxrpc.Endpoint {
			d, err := tsocket.UDP(local, tsocket.Addr{})
			require.NoError(t, err)
			return openOn(t, d, nil)
		}
		a, b := one(), one()
		conversation(t, a, b)
		assert.Equal(t, ip, a.LocalAddr().Addr().String())
	}
}

// An adapter of package net has neither batches nor system calls that do not wait.
func TestEndpointsOnAnAdapter(t *testing.T) {
	one := func() *rxrpc.Endpoint {
		d, err := tsocket.UDP(tsocket.MustAddr(tsocket.ParseIP("ip", "127.0.0.1", 0)), tsocket.Addr{})
		require.NoError(t, err)
		return openOn(t, tsocket.FromPacketConn(tsocket.AsPacketConn(d)), nil)
	}
	conversation(t, one(), one())
}

func TestPathsAreNoAddressesOfPeers(t *testing.T) {
	d, err := tsocket.UnixDgram(tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(t.TempDir(), "s"))), tsocket.Addr{})
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	_, err = rxrpc.OpenOn(d, nil)
	require.ErrorIs(t, err, syscall.EAFNOSUPPORT)
	var ee *rxrpc.EndpointError
	require.ErrorAs(t, err, &ee)
}

// A peer that takes nothing holds up neither calls, which end in their time, nor Close.
func TestPeerThatNeverReceives(t *testing.T) {
	c, d := tsocket.PipeDgram()
	defer func() { _ = d.Close() }()
	a := openOn(t, c, &rxrpc.Config{SendBuffer: 20_000})
	client := a.Client(rxrpc.OnlyPeer(), nil)
	for begin := soon(t); begin.Err() == nil && a.Stats().SendErrors == 0; { // once, where the machine has time for it
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				_, err := client.Call(ctx, 1, pattern(1000))
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		all.Wait()
	}
	assert.Positive(t, a.Stats().SendErrors, "what found the queue full is counted")
}

// What a socket refuses as too long is not sent in that length again.
func TestSocketWithSmallDatagrams(t *testing.T) {
	c, d := tsocket.PipeDgram()
	small := func(d *tsocket.Dgram) *tsocket.Dgram {
		return tsocket.NewDgram(smallDgram{d.Ops().(tsocket.TryDgramOps)})
	}
	a, b := openOn(t, small(c), nil), openOn(t, small(d), nil)
	conversation(t, a, b)
	assert.Zero(t, a.Stats().SendErrors, "none was tried")
}

// smallDgram takes datagrams of up to 5000 bytes.
type smallDgram struct{ tsocket.TryDgramOps }

func (smallDgram) MaxDatagram() int { return 5000 }

func (s smallDgram) TrySendTo(b []byte, to tsocket.Addr) error {
	if len(b) > s.MaxDatagram() {
		return syscall.EMSGSIZE
	}
	return s.TryDgramOps.TrySendTo(b, to)
}

func (s smallDgram) SendTo(ctx context.Context, b []byte, to tsocket.Addr) error {
	if len(b) > s.MaxDatagram() {
		return syscall.EMSGSIZE
	}
	return s.TryDgramOps.SendTo(ctx, b, to)
}
