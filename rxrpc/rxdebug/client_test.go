package rxdebug_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxdebug"
)

func TestEverything(t *testing.T) {
	r := &records{
		version: 'S',
		conns: []wire.DebugConn{
			{
				Host: [4]byte{192, 0, 2, 1}, Port: 7001, CID: 8, Epoch: 9, Type: wire.DebugServer, Security: 2, Flags: 4, NatMTU: 1444, Serial: 3,
				Call: [4]wire.CallNumber{5}, State: [4]uint8{wire.DebugStateDally}, Mode: [4]uint8{wire.DebugModeEOF}, CallFlags: [4]uint8{0x20},
				Sec: wire.DebugSecurity{Type: 3, Level: 2, Flags: 10, Expires: 1 << 31, PacketsReceived: 1, PacketsSent: 2, BytesReceived: 3, BytesSent: 4},
			},
			{Host: [4]byte{192, 0, 2, 2}, Port: 1, CID: 12, Error: -3, State: [4]uint8{3: wire.DebugStateActive}, Other: [4]uint8{3: 3}},
		},
		peers: []wire.DebugPeer{{Host: [4]byte{192, 0, 2, 3}, Port: 2, RTT: 12, RTTDev: 6, Timeout: wire.DebugTime{Sec: 1, Usec: 500000}, BytesSent: 1 << 40, IdleWhen: 60}},
		rx:    wire.RxStats{PacketRequests: 1, BogusHost: 0xc0000204, RTTSamples: 2, TotalRTT: wire.DebugTime{Sec: 1, Usec: 2}, Busies: 3},
	}
	r.rx.PacketsRead[wire.TypeVersion-1] = 42
	for _, network := range []struct{ network, addr string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		t.Run(network.network, func(t *testing.T) {
			c, ctx := dial(t, serve(t, network.network, network.addr, r.answer), nil)
			text, err := c.Version(ctx)
			require.NoError(t, err)
			assert.Equal(t, "test ?[1mversion", text)

			s, err := c.Stats(ctx)
			require.NoError(t, err)
			assert.Equal(t, rxdebug.Stats{
				Protocol: 'S', FreePackets: 1, PacketReclaims: 2, Calls: 3, WaitingForPackets: true, UsedFDs: 200,
				Waiting: 4, IdleThreads: 5, Waited: 6, Packets: 7,
			}, s)

			rx, err := c.RxStats(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, 1, rx.PacketRequests)
			assert.Equal(t, "192.0.2.4", rx.BogusHost.String())
			assert.EqualValues(t, 42, rx.PacketsRead[12])
			assert.Equal(t, "version", rxdebug.PacketTypes[12])
			assert.Equal(t, rxdebug.RTT{Samples: 2, Total: time.Second + 2*time.Microsecond}, rx.RTT)
			assert.EqualValues(t, 3, rx.Busies)

			conns := collect(t, c, ctx, true)
			require.Len(t, conns, 2)
			assert.Equal(t, rxdebug.Conn{
				Peer: netip.MustParseAddrPort("192.0.2.1:7001"), CID: 8, Epoch: 9, Server: true, Serial: 3, Flags: 4, SecurityIndex: 2, NatMTU: 1444,
				Calls: [4]rxdebug.Call{{Number: 5, State: rxdebug.Dally, Mode: rxdebug.EOF, Flags: 0x20}},
				Security: rxdebug.Security{
					Class: rxdebug.ClassRxKAD, Level: rxdebug.Crypt, Flags: 10, Expires: time.Unix(1<<31, 0).UTC(),
					PacketsReceived: 1, PacketsSent: 2, BytesReceived: 3, BytesSent: 4,
				},
			}, conns[0])
			assert.True(t, conns[0].Dallying())
			assert.False(t, conns[1].Dallying())
			assert.True(t, conns[1].Calls[3].Input && conns[1].Calls[3].Output)
			busy := collect(t, c, ctx, false)
			require.Len(t, busy, 1)
			assert.EqualValues(t, 12, busy[0].CID)

			var peers []rxdebug.Peer
			for p, err := range c.Peers(ctx) {
				require.NoError(t, err)
				peers = append(peers, p)
			}
			require.Len(t, peers, 1)
			p := peers[0]
			assert.Equal(t, "192.0.2.3:2", p.Addr.String())
			assert.Equal(t, 1500*time.Microsecond, p.RTT)
			assert.Equal(t, 1500*time.Microsecond, p.RTTDeviation)
			assert.Equal(t, 1500*time.Millisecond, p.Timeout)
			assert.EqualValues(t, 1<<40, p.BytesSent)
			assert.Equal(t, time.Unix(60, 0).UTC(), p.IdleSince)
		})
	}
}

func collect(t *testing.T, c *rxdebug.Client, ctx context.Context, all bool) []rxdebug.Conn {
	t.Helper()
	var out []rxdebug.Conn
	for conn, err := range c.Conns(ctx, all) {
		require.NoError(t, err)
		out = append(out, conn)
	}
	return out
}

// Of an endpoint that does not tell all connections the busy ones are asked for.
func TestOldEndpoint(t *testing.T) {
	r := &records{version: 'L', conns: []wire.DebugConn{{CID: 4}, {CID: 8, Flags: wire.DebugConnMakeCallWaiting}}}
	c, ctx := dial(t, serve(t, "udp4", "127.0.0.1:0", r.answer), nil)
	conns := collect(t, c, ctx, true)
	require.Len(t, conns, 1)
	assert.EqualValues(t, 8, conns[0].CID)
	assert.False(t, rxdebug.Letter('L').HasAllConns())
	assert.True(t, rxdebug.Letter('L').HasSecurity())
	assert.True(t, rxdebug.Letter('Q').HasPeers())
	assert.False(t, rxdebug.Letter('Q').HasWaited())
	assert.Equal(t, "?", rxdebug.Letter(7).String())
	b, err := json.Marshal(rxdebug.Stats{Protocol: 'P'})
	require.NoError(t, err)
	assert.Contains(t, string(b), `"protocol":"P"`)
	for l := rxdebug.Letter('K'); l <= 'T'; l++ {
		assert.Equal(t,
			[]bool{l >= 'L', l >= 'M', l >= 'M', l >= 'N', l >= 'O', l >= 'P', l >= 'Q', l >= 'R', l >= 'S'},
			[]bool{
				l.HasSecurity(), l.HasAllConns(), l.HasRxStats(), l.HasWaiting(), l.HasIdleThreads(), l.HasCbufStats(), l.HasPeers(), l.HasWaited(), l.HasPackets(),
			}, "%v", l)
	}
}

// A consumer that has enough ends the asking.
func TestStopsWhenNobodyWantsMore(t *testing.T) {
	r := &records{version: 'S', conns: make([]wire.DebugConn, 10), peers: make([]wire.DebugPeer, 10)}
	var asked atomic.Int32
	c, ctx := dial(t, serve(t, "udp4", "127.0.0.1:0", func(h wire.Header, body []byte) [][]byte {
		asked.Add(1)
		return r.answer(h, body)
	}), &rxdebug.Config{Wait: time.Hour}) // nothing is asked twice
	for range c.Conns(ctx, true) {
		break
	}
	for range c.Peers(ctx) {
		break
	}
	assert.EqualValues(t, 3, asked.Load(), "stats, a connection, a peer")
}

func TestAsksAgain(t *testing.T) {
	r := &records{version: 'S'}
	var mu sync.Mutex // guards numbers
	numbers := map[wire.CallNumber]int{}
	addr := serve(t, "udp4", "127.0.0.1:0", func(h wire.Header, body []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		numbers[h.Call]++
		if numbers[h.Call] < 3 {
			return nil
		}
		return r.answer(h, body)
	})
	c, ctx := dial(t, addr, &rxdebug.Config{Wait: time.Millisecond, Tries: 12})
	_, err := c.Stats(ctx)
	require.NoError(t, err)
	_, err = c.Stats(ctx)
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	assert.Len(t, numbers, 2, "each request has its number, its repetitions the same")
}

// What is no answer to the request is passed over: answers to others, requests,
// other types, nonsense.
func TestIgnoresOthers(t *testing.T) {
	r := &records{version: 'S'}
	wrong := wire.DebugStats{FreePackets: 666}
	addr := serve(t, "udp4", "127.0.0.1:0", func(h wire.Header, body []byte) [][]byte {
		other, request, epoch, data := h, h, h, h
		other.Call--
		request.Flags = 0 // Reply turns it around
		epoch.Epoch = 1000
		junk := answer(data, wrong.Append(nil))
		junk[20] = byte(wire.TypeData)
		return append([][]byte{
			nil, make([]byte, 27), answer(other, wrong.Append(nil)), answer(request, wrong.Append(nil)), answer(epoch, wrong.Append(nil)), junk,
		}, r.answer(h, body)...)
	})
	c, ctx := dial(t, addr, nil)
	s, err := c.Stats(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, s.FreePackets)
}

func TestNoAnswer(t *testing.T) {
	addr := serve(t, "udp4", "127.0.0.1:0", func(wire.Header, []byte) [][]byte { return nil })
	c, ctx := dial(t, addr, &rxdebug.Config{Wait: time.Millisecond, Tries: 4})
	_, err := c.Version(ctx)
	require.ErrorIs(t, err, rxdebug.ErrNoAnswer)
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	assert.Equal(t, "rxdebug "+addr.String()+": version: no answer", err.Error())
	for _, err := range c.Conns(ctx, true) {
		require.ErrorIs(t, err, rxdebug.ErrNoAnswer)
	}
}

// Linux answers what it does not know by an ABORT, OpenAFS by its bad type.
func TestNotSupported(t *testing.T) {
	for name, e := range map[string]endpoint{
		"abort": func(h wire.Header, _ []byte) [][]byte {
			return [][]byte{wire.AppendReject(nil, &h, wire.ProtocolError)}
		},
		"bad type": func(h wire.Header, _ []byte) [][]byte { return [][]byte{answer(h, wire.AppendDebugBadType(nil))} },
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := dial(t, serve(t, "udp4", "127.0.0.1:0", e), nil)
			_, err := c.RxStats(ctx)
			require.ErrorIs(t, err, rxdebug.ErrNotSupported)
			require.ErrorIs(t, err, syscall.EOPNOTSUPP)
			n := 0
			for _, err := range c.Peers(ctx) {
				require.ErrorIs(t, err, rxdebug.ErrNotSupported)
				n++
			}
			for _, err := range c.Conns(ctx, false) {
				require.ErrorIs(t, err, rxdebug.ErrNotSupported)
				n++
			}
			assert.Equal(t, 2, n)
		})
	}
}

func TestBadAnswers(t *testing.T) {
	stats := wire.DebugStats{Version: 'S'}
	addr := serve(t, "udp4", "127.0.0.1:0", func(h wire.Header, body []byte) [][]byte {
		if q, err := wire.ParseDebugRequest(body); err == nil && q.Type == wire.DebugGetStats && q.Index == 0 && h.Call%2 == 0 {
			return [][]byte{answer(h, stats.Append(nil))}
		}
		return [][]byte{answer(h, nil)}
	})
	c, ctx := dial(t, addr, nil)
	for _, ask := range []func() error{
		func() error { _, err := c.Version(ctx); return err },
		func() error { _, err := c.RxStats(ctx); return err },
		func() error {
			for {
				_, err := c.Stats(ctx)
				if err != nil {
					return err
				}
			}
		},
		func() error {
			var last error
			for _, err := range c.Conns(ctx, true) {
				last = err
			}
			return last
		},
		func() error {
			var last error
			for _, err := range c.Peers(ctx) {
				last = err
			}
			return last
		},
	} {
		err := ask()
		require.ErrorIs(t, err, rxdebug.ErrBadAnswer)
		require.ErrorIs(t, err, syscall.EBADMSG)
	}
}

func TestNobodyListens(t *testing.T) {
	s, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	addr := s.LocalAddr().(*net.UDPAddr).AddrPort()
	require.NoError(t, s.Close())
	c, ctx := dial(t, addr, nil)
	_, err = c.Version(ctx)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var op *rxdebug.OpError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, addr, op.Addr)
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	addr := serve(t, "udp4", "127.0.0.1:0", func(wire.Header, []byte) [][]byte { cancel(enough); return nil })
	c, _ := dial(t, addr, &rxdebug.Config{Wait: time.Hour})
	_, err := c.Version(ctx)
	require.ErrorIs(t, err, enough)
	_, err = rxdebug.Dial(netip.AddrPort{}, nil)
	require.Error(t, err)
}

func TestNames(t *testing.T) {
	b, err := json.Marshal(rxdebug.Conn{
		Flags: 0xff, Calls: [4]rxdebug.Call{{State: 9, Mode: 9, Flags: 3}},
		Security: rxdebug.Security{Class: 9, Level: 9, Flags: 15},
	})
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(b, &v))
	assert.Equal(t, []any{"MAKECALL_WAITING", "DESTROYED", "pktCksum", "knowWindow", "reset", "busy", "attachWait"}, v["flags"])
	call := v["calls"].([]any)[0].(map[string]any)
	assert.Equal(t, "9", call["state"])
	assert.Equal(t, "9", call["mode"])
	assert.Equal(t, []any{"reader_wait", "window_alloc"}, call["flags"])
	sec := v["security"].(map[string]any)
	assert.Equal(t, "9", sec["class"])
	assert.Equal(t, "unknown", sec["level"])
	assert.Equal(t, []any{"unalloc", "authenticated", "expired", "pktCksum"}, sec["flags"])
	assert.NotContains(t, sec, "expires")
	assert.Equal(t, "hold", rxdebug.Hold.String())
	assert.Equal(t, "auth", rxdebug.Auth.String())
	assert.Equal(t, "receiving", rxdebug.Receiving.String())
}
