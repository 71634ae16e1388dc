//go:build linux

package goface_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// edges are sizes around the ends of packets, of ours and of OpenAFS's.
var edges = []int{0, 1, 4, 1400, 1404, 1408, 1411, 1412, 1413, 1436, 1440, 1444, 1445, 2824, 65536, 1000000}

// variants are with and without jumbo datagrams, which rxpeer sends only if it is allowed to.
var variants = []struct {
	name string
	flag string
	cfg  *rxrpc.Config
}{
	{"jumbo", "", &rxrpc.Config{}},
	{"no jumbo", "-nojumbo", &rxrpc.Config{MTU: rxrpc.MTU{NoJumbo: true}}},
	{"small packets", "-nojumbo", &rxrpc.Config{MTU: rxrpc.MTU{NoProbe: true}}},
}

func big(t testing.TB) int {
	if testing.Short() {
		return 3_000_000
	}
	return 100_000_000
}

// TestOurClientToLibrx: our client, OpenAFS's library as the server.
func TestOurClientToLibrx(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			peer := rig.Peer(t, netip.AddrPort{}, v.flag)
			c := rxp.Client{Client: dial(t, peer.Addr, v.cfg)}
			reply, err := c.Do(soon(t), rxp.Nop, 41)
			require.NoError(t, err)
			assert.Equal(t, words(42), reply)
			for _, n := range edges {
				require.NoError(t, c.Echo(soon(t), bytes.Repeat([]byte("edge"), n/4+1)[:n]), "%d bytes", n)
				require.NoError(t, c.Sink(soon(t), uint64(n), true), "%d bytes", n)
				require.NoError(t, c.Source(soon(t), uint64(n), true), "%d bytes", n)
			}
			_, err = c.Do(soon(t), rxp.Fail, 363524)
			require.ErrorIs(t, err, rxrpc.Abort(363524))
			_, err = c.Do(soon(t), rxp.Delay, 300)
			require.NoError(t, err)
			_, err = c.Do(soon(t), rxp.SourceFail, 0, 100_000, 1, 77)
			require.ErrorIs(t, err, rxrpc.Abort(77))
			_, err = c.Do(soon(t), 9999)
			require.ErrorIs(t, err, rxrpc.Abort(rxrpc.BadOpcode))
			require.NoError(t, c.Sink(soon(t), uint64(big(t)), true))
			require.NoError(t, c.Source(soon(t), uint64(big(t)), true))
			manyAtATime(t, c)
		})
	}
}

// manyAtATime has 64 callers, which is more than OpenAFS gives to one connection.
func manyAtATime(t *testing.T, c rxp.Client) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for k := range uint32(20) {
				reply, err := c.Do(soon(t), rxp.Nop, uint32(i)<<8|k)
				if !assert.NoError(t, err) {
					return
				}
				assert.Equal(t, words(uint32(i)<<8|k+1), reply)
			}
			assert.NoError(t, c.Echo(soon(t), bytes.Repeat([]byte{byte(i)}, 100*i)))
		})
	}
	wg.Wait()
}

// TestLibrxToOurServer: OpenAFS's library as the client, our server.
func TestLibrxToOurServer(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			e, err := rxrpc.Open(netip.AddrPortFrom(rig.Loopback, 0), v.cfg)
			require.NoError(t, err)
			t.Cleanup(func() { _ = e.Close() })
			s := rxrpc.NewServer(e, nil)
			t.Cleanup(func() { _ = s.Close() })
			require.NoError(t, s.Handle(rxp.ID, &rxp.Service{}))
			addr := e.LocalAddr()

			rig.PeerMust(t, addr, v.flag, "nop")
			for _, n := range edges {
				size := strconv.Itoa(n)
				rig.PeerMust(t, addr, v.flag, "-size", size, "echo")
			}
			for _, n := range []int{0, 1412, 1413, 300_000, big(t)} {
				for _, op := range []string{"sink", "source"} {
					rig.PeerMust(t, addr, v.flag, "-bytes", strconv.Itoa(n), "-verify", op)
				}
			}
			rig.PeerMust(t, addr, v.flag, "-streams 4 -bytes 2000000 -verify sink")
			rig.PeerMust(t, addr, v.flag, "-streams 4 -bytes 2000000 -verify source")
			rig.PeerMust(t, addr, v.flag, "delay 300")
			assert.EqualValues(t, 4711, rig.PeerClient(t, addr, v.flag, "fail 4711").Code)
			assert.EqualValues(t, 555, rig.PeerClient(t, addr, v.flag, "-bytes 20000 sourcefail 555").Code)
			assert.EqualValues(t, -2, rig.PeerClient(t, addr, v.flag, "-service 99 -dead 6 nop").Code)
			for _, threads := range []int{1, 8, 64} {
				r := rig.PeerMust(t, addr, v.flag, fmt.Sprintf("-threads %d -secs 1 calls", threads))
				assert.GreaterOrEqual(t, r.Fields["calls"], float64(threads))
			}
			assert.Contains(t, rig.RxDebug(t, addr, "-version"), "cnbus rxrpc")
		})
	}
}
