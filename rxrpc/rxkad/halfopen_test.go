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

// A flooded server has callers with tickets, and gets packets from everywhere.
type flooded struct {
	t        *testing.T
	now      proto.Time
	server   *proto.Endpoint
	atServer netip.AddrPort
	callers  map[netip.AddrPort]*proto.Endpoint
	mail     map[netip.AddrPort][][]byte // for callers, until they look
	buf      []byte
	sent     int
}

// send delivers what the server has to send; what goes to nobody is lost.
func (f *flooded) send() {
	for n, to, ok := f.server.Transmit(f.now, f.buf); ok; n, to, ok = f.server.Transmit(f.now, f.buf) {
		if f.callers[to.To] != nil {
			f.mail[to.To] = append(f.mail[to.To], append([]byte(nil), f.buf[:n]...))
		}
	}
}

// beginning sends the first packet of a call from an address where nobody is.
func (f *flooded) beginning(packet []byte) {
	i := f.sent
	f.sent++
	h := wire.Header{
		Epoch: wire.RandomEpoch | wire.Epoch(i), CID: 4, Call: 1, Seq: 1, Serial: 1, Type: wire.TypeData,
		Flags: wire.ClientInitiated | wire.LastPacket, Security: wire.SecurityRxKAD, Service: 52, Checksum: 1,
	}
	h.Put(packet)
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7001)
	f.now += 1e4 // 100,000 packets in a second
	f.server.Receive(f.now, from, packet)
	f.server.Tick(f.now)
	f.send()
}

// caller makes somebody who has an endpoint.
func (f *flooded) caller(n int) netip.AddrPort {
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)}), 7001)
	f.callers[at] = proto.New(proto.Config{}, f.now)
	return at
}

// call makes a call with a ticket, and answers it, while the flood goes on: between a packet and its answer there are so
// many of the flood's.
func (f *flooded) call(at netip.AddrPort, security *rxkad.Client, packet []byte, between int) {
	t, client := f.t, f.callers[at]
	call, err := client.NewCall(f.now, &proto.CallParams{Peer: f.atServer, Service: 52, Security: security})
	require.NoError(t, err)
	_, err = call.Send(f.now, []byte("request"), false)
	require.NoError(t, err)
	var served *proto.Call
	var reply string
	for turn := 0; call.State() != proto.Complete; turn++ {
		require.Less(t, turn, 5, "after %d packets of the flood", f.sent)
		for n, _, ok := client.Transmit(f.now, f.buf); ok; n, _, ok = client.Transmit(f.now, f.buf) {
			f.server.Receive(f.now, at, f.buf[:n])
		}
		for range between {
			f.beginning(packet)
		}
		for e, ok := f.server.Event(); ok; e, ok = f.server.Event() {
			if e.What.Has(proto.Arrived) {
				served = e.Call
				assert.True(t, served.Security().Authenticated, "nobody else is heard of")
			}
		}
		if served != nil {
			if b, last, ok := served.Take(); ok {
				assert.Equal(t, "request", string(b.Bytes()))
				assert.True(t, last)
				b.Release()
				_, err := served.Send(f.now, []byte("reply"), false)
				require.NoError(t, err)
				served.Release(f.now)
				served = nil
			}
		}
		f.send()
		for _, d := range f.mail[at] {
			client.Receive(f.now, f.atServer, d)
		}
		f.mail[at] = nil
		for b, _, ok := call.Take(); ok; b, _, ok = call.Take() {
			reply += string(b.Bytes())
			b.Release()
		}
	}
	assert.Equal(t, proto.Succeeded, call.Result().Completion)
	assert.Equal(t, "reply", reply)
	call.Release(f.now)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestHalfOpenConnections: a hundred thousand clients, each of another address, begin a call within seconds and never prove
// themselves. What the server holds of them stays within its limits, and whoever has a ticket calls as ever: on a
// connection that is there, and on new ones, if the answer to a challenge takes no longer than the newest 5,000 of the flood.
func TestHalfOpenConnections(t *testing.T) {
	key := rxkad.NewKey([]byte("\x01\x23\x45\x67\x89\xab\xcd\xef"))
	token, err := rxkad.LocalAuth4(key, 3)
	require.NoError(t, err)
	security, err := rxkad.NewClient(token, rxkad.Encrypt)
	require.NoError(t, err)
	for _, row := range []struct {
		name   string
		limits proto.Limits
		body   int // of the flood's packets, in bytes
		most   int // bytes
	}{
		{"the limits that are the default", proto.Limits{}, 1412, 32768*900 + 16<<20},
		{"all of them held", proto.Limits{HalfOpen: 120_000, HalfOpenBytes: 32 << 20}, 100, 120_000*900 + 32<<20},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := heap()
			f := &flooded{
				t: t, now: 1e12, atServer: netip.MustParseAddrPort("192.0.2.1:7003"), callers: map[netip.AddrPort]*proto.Endpoint{},
				mail: map[netip.AddrPort][][]byte{}, buf: make([]byte, 65536),
			}
			f.server = proto.New(proto.Config{Limits: row.limits}, f.now)
			_, err := f.server.Listen(f.now, proto.ServiceParams{
				IDs: []wire.ServiceID{52}, Accept: proto.AcceptAuto,
				Security: []proto.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, key)})},
			})
			require.NoError(t, err)
			packet := make([]byte, wire.HeaderSize+row.body)
			old := f.caller(0)
			f.call(old, security, packet, 0)
			calls := 0
			for f.sent < 100_000 {
				f.call(old, security, packet, 100)
				at := f.caller(1 + calls)
				f.call(at, security, packet, 1000)
				delete(f.callers, at)
				calls++
			}
			s := f.server.Stats()
			held := int(heap()) - int(before)
			t.Logf("%d half open, %d forgotten, %d connections, %.1f MB; %d calls meanwhile", s.LiveHalfOpen, s.HalfOpenEvicted, s.LiveServiceConns, float64(held)/1e6, 2*calls)
			assert.Less(t, held, row.most)
			if row.limits.HalfOpen == 0 {
				assert.Equal(t, 32768, s.LiveHalfOpen)
			} else {
				assert.GreaterOrEqual(t, s.LiveHalfOpen, 100_000)
			}
			assert.Equal(t, 1+calls, s.LiveServiceConns, "of those who have tickets")
			assert.Zero(t, s.Busied)

			// They do not last: 20 s after the last packet they are gone.
			for range 30 {
				f.now += 1e9
				f.server.Tick(f.now)
				f.send()
			}
			assert.Zero(t, f.server.Stats().LiveHalfOpen)
			f.call(old, security, packet, 0)
			runtime.KeepAlive(f)
		})
	}
}
