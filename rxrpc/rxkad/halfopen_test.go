package rxkad_test

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// link carries datagrams between two endpoints, and throws away what goes elsewhere.
func link(now proto.Time, a, b *proto.Endpoint, atA, atB netip.AddrPort) {
	buf := make([]byte, 65536)
	for moved := true; moved; {
		moved = false
		for n, to, ok := a.Transmit(now, buf); ok; n, to, ok = a.Transmit(now, buf) {
			moved = true
			if to.To == atB {
				b.Receive(now, atA, buf[:n])
			}
		}
		for n, to, ok := b.Transmit(now, buf); ok; n, to, ok = b.Transmit(now, buf) {
			moved = true
			if to.To == atA {
				a.Receive(now, atB, buf[:n])
			}
		}
	}
}

// TestHalfOpenConnections: a hundred thousand clients, each of another address, begin a call and never prove
// themselves. What the server holds of them stays within its limits, and somebody with a ticket gets in.
func TestHalfOpenConnections(t *testing.T) {
	key := rxkad.NewKey([]byte("\x01\x23\x45\x67\x89\xab\xcd\xef"))
	class := rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, key)})
	now := proto.Time(1e12)
	server := proto.New(proto.Config{}, now)
	_, err := server.Listen(now, proto.ServiceParams{IDs: []wire.ServiceID{52}, Accept: proto.AcceptAuto, Security: []proto.ServerSecurity{class}})
	require.NoError(t, err)
	atServer := netip.MustParseAddrPort("192.0.2.1:7003")

	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	packet, buf := make([]byte, 1440), make([]byte, 65536)
	for i := range 100_000 {
		h := wire.Header{
			Epoch: wire.RandomEpoch | wire.Epoch(i), CID: 4, Call: 1, Seq: 1, Serial: 1, Type: wire.TypeData,
			Flags: wire.ClientInitiated | wire.LastPacket, Security: wire.SecurityRxKAD, Service: 52, Checksum: 1,
		}
		copy(packet, h.Append(nil))
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7001)
		now += 1e5
		server.Receive(now, from, packet)
		server.Tick(now)
		for _, _, ok := server.Transmit(now, buf); ok; _, _, ok = server.Transmit(now, buf) {
		}
		for _, ok := server.Event(); ok; _, ok = server.Event() {
			t.Fatal("a call of somebody who has not proven himself")
		}
	}
	held := int64(heap()) - int64(before)
	s := server.Stats()
	t.Logf("%d connections and %d calls are held, %.1f MB", s.LiveServiceConns, s.LiveCalls, float64(held)/1e6)
	assert.LessOrEqual(t, s.LiveServiceConns, 32768, "Limits.ServiceConns")
	assert.LessOrEqual(t, s.LiveCalls, 32768, "Limits.ServiceCalls")
	assert.Less(t, held, int64(32768*8<<10), "8 KB for each of them")

	// They do not last: 20 s after the last packet their calls are dead, and who comes then gets in at once.
	for range 30 {
		now += 1e9
		server.Tick(now)
		for _, _, ok := server.Transmit(now, buf); ok; _, _, ok = server.Transmit(now, buf) {
		}
		for _, ok := server.Event(); ok; _, ok = server.Event() {
		}
	}
	token, err := rxkad.LocalAuth4(key, 3)
	require.NoError(t, err)
	security, err := rxkad.NewClient(token, rxkad.Encrypt)
	require.NoError(t, err)
	client, atClient := proto.New(proto.Config{}, now), netip.MustParseAddrPort("198.51.100.7:7001")
	call, err := client.NewCall(now, &proto.CallParams{Peer: atServer, Service: 52, Security: security})
	require.NoError(t, err)
	n, err := call.Send(now, []byte("request"), false)
	require.NoError(t, err)
	require.Equal(t, 7, n)
	link(now, client, server, atClient, atServer)
	e, ok := server.Event()
	require.True(t, ok)
	assert.True(t, e.Call.Security().Authenticated)
	got, last, ok := e.Call.Take()
	require.True(t, ok)
	assert.True(t, last)
	assert.Equal(t, "request", string(got.Bytes()))
	got.Release()
}
