//go:build linux

package rxkad_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// edges are sizes around the ends of packets: of ours, of OpenAFS's and of a cipher's blocks.
var edges = []int{0, 1, 3, 4, 5, 8, 1392, 1396, 1400, 1404, 1408, 1412, 1424, 1428, 1432, 1436, 1440, 1444, 2800, 65536, 1000000}

func big(t testing.TB) int {
	if testing.Short() {
		return 3_000_000
	}
	return 100_000_000
}

// whoAmI is the operation of rxpeer that tells a caller what the server knows of it.
const whoAmI = 7

// TestOurClientToLibrx: every level, with tickets of Kerberos 4 and of Kerberos 5.
func TestOurClientToLibrx(t *testing.T) {
	r := rxkad.TicketRequest{Name: "tester", Cell: "rig.test"}
	v4 := print4(t, r)
	v5, err := rxkad.PrintTicket5(aesKey(t), openafs.AESKeyVersion, openafs.AESType, r)
	require.NoError(t, err)
	peer := rig.Peer(t, netip.AddrPort{}, "-nonull")
	peer5 := rig.Peer(t, netip.AddrPort{}, "-nonull", "-k5key", openafs.AESKey, "-kvno", strconv.Itoa(openafs.AESKeyVersion))
	for _, l := range levels {
		t.Run(l.String(), func(t *testing.T) {
			c := dial(t, peer.Addr, secured(t, v4, l))
			for _, n := range edges {
				require.NoError(t, c.Echo(soon(t), bytes.Repeat([]byte("edge"), n/4+1)[:n]), "%d bytes", n)
				require.NoError(t, c.Sink(soon(t), uint64(n), true), "%d bytes", n)
				require.NoError(t, c.Source(soon(t), uint64(n), true), "%d bytes", n)
			}
			_, err := c.Do(soon(t), rxp.Fail, 363524)
			require.ErrorIs(t, err, rxrpc.Abort(363524))
			require.NoError(t, c.Sink(soon(t), uint64(big(t)), true))
			require.NoError(t, c.Source(soon(t), uint64(big(t)), true))

			c = dial(t, peer5.Addr, secured(t, v5, l))
			reply, err := c.Do(soon(t), whoAmI)
			require.NoError(t, err)
			require.Greater(t, len(reply), 20)
			assert.EqualValues(t, 2, binary.BigEndian.Uint32(reply))
			assert.EqualValues(t, l, binary.BigEndian.Uint32(reply[4:]))
			assert.Contains(t, string(reply), "tester")
			assert.Contains(t, string(reply), "rig.test")
			require.NoError(t, c.Source(soon(t), 1_000_000, true))
		})
	}
}

// TestLibrxToOurServer: the other way.
func TestLibrxToOurServer(t *testing.T) {
	w := &who{seen: map[string]int{}}
	addr := serve(t, netip.AddrPortFrom(rig.Loopback, 0), rxkad.ServerConfig{Authorize: w.saw}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}})
	for _, l := range levels {
		t.Run(l.String(), func(t *testing.T) {
			for i, ticket := range []string{"", fmt.Sprintf("-k5key %s -kvno %d", openafs.AESKey, openafs.AESKeyVersion)} {
				with := []string{ticket, "-level", names[l], "-name tester -cell rig.test"}
				rig.PeerMust(t, addr, append(with, "nop")...)
				if i > 0 {
					rig.PeerMust(t, addr, append(with, "-size 100000 echo")...)
					continue
				}
				for _, n := range edges {
					rig.PeerMust(t, addr, append(with, "-size", strconv.Itoa(n), "echo")...)
				}
				for _, op := range []string{"sink", "source"} {
					rig.PeerMust(t, addr, append(with, "-bytes", strconv.Itoa(big(t)), "-verify", op)...)
				}
				rig.PeerMust(t, addr, append(with, "-threads 8 -secs 1 calls")...)
				assert.EqualValues(t, 4711, rig.PeerClient(t, addr, append(with, "fail 4711")...).Code)
			}
			assert.Positive(t, w.count(fmt.Sprintf("tester@rig.test %v 3", l)), "%v", w.seen)
			assert.Positive(t, w.count(fmt.Sprintf("tester@rig.test %v 213", l)), "%v", w.seen)
		})
	}
}

// TestJumbosAtEveryLevel: full packets join in jumbo datagrams at each level, both ways, and OpenAFS reads what is in them: at Encrypt they are
// filled up by what ciphers of blocks leave.
func TestJumbosAtEveryLevel(t *testing.T) {
	rig.World(t)
	peer := rig.Peer(t, netip.AddrPort{}, "-nonull")
	for _, l := range levels {
		t.Run(l.String(), func(t *testing.T) {
			ctx := soon(t)
			for jumbosLeave := false; !jumbosLeave; { // on a busy machine datagrams are lost, and an endpoint that finds large ones lost keeps to small ones
				e, err := rxrpc.Open(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), &rxrpc.Config{MTU: rxrpc.MTU{Interface: 65535}})
				require.NoError(t, err)
				c := rxp.Client{Client: e.Client(peer.Addr, secured(t, print4(t, rxkad.TicketRequest{Name: "tester"}), l))}
				require.NoError(t, c.Sink(ctx, 20_000_000, true))
				require.NoError(t, c.Source(ctx, 20_000_000, true))
				s := e.Stats()
				t.Logf("%d packets in %d datagrams, %d of them jumbos; %d jumbos came", s.DataOut, s.Transmitted["DATA"], s.JumboOut, s.JumboIn)
				jumbosLeave = s.JumboOut > 100
				require.NoError(t, e.Close())
			}
		})
	}
}
