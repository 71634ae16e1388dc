package proto

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// securedRig is a server that wants its clients to prove themselves.
func securedRig(t testing.TB, cfg Config) *rig {
	r := newRig(t, cfg)
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}}})
	return r
}

// half sends the first packet of a call of the class.
func (r *rig) begins(from netip.AddrPort, cid wire.CID, body ...byte) {
	h := fromClient(wire.TypeData, 1, 1)
	h.CID, h.Security, h.Flags = cid, wire.SecurityRxKAD, h.Flags|last
	r.inFrom(from, h, body...)
}

// proves answers the challenge of a connection, whose first call is call 1.
func (r *rig) proves(from netip.AddrPort, cid wire.CID) {
	sc := &xorConn{x: &xorClass{key: 7}, id: ConnID{Epoch: 0x87654321, CID: cid}}
	resp, err := sc.Respond(nil, []byte("who are you?"), [4]wire.CallNumber{1})
	require.NoError(r.t, err)
	h := fromClient(wire.TypeResponse, 0, 0)
	h.CID, h.Security = cid, wire.SecurityRxKAD
	r.inFrom(from, h, resp...)
}

// sealed sends a call of a connection that is proven.
func (r *rig) sealed(from netip.AddrPort, cid wire.CID, call wire.CallNumber, data string) {
	sc := &xorConn{x: &xorClass{key: 7}, id: ConnID{Epoch: 0x87654321, CID: cid}}
	body, sum, err := sc.Seal(nil, PacketID{Call: call, Seq: 1, ToServer: true}, []byte(data))
	require.NoError(r.t, err)
	h := fromClient(wire.TypeData, call, 1)
	h.CID, h.Security, h.Flags, h.Checksum = cid, wire.SecurityRxKAD, h.Flags|last, sum
	r.inFrom(from, h, body...)
}

// A flood of beginnings takes no place of connections that are proven, and no more than its own.
func TestAFloodTakesNobodysPlace(t *testing.T) {
	r := securedRig(t, Config{Limits: Limits{HalfOpen: 100, ServiceConns: 10, ServiceCalls: 10, ConnsPerHost: 10, HalfOpenBytes: 50_000}})
	r.sealed(clientAddr, 4, 1, "first")
	r.proves(clientAddr, 4)
	require.Len(t, r.arrive, 1)
	for i := range 5000 {
		r.begins(v4(i), wire.CID(4*i), pattern(1400)...)
		r.check(t)
		if i%500 == 0 {
			n := len(r.arrive)
			r.sealed(clientAddr, 4, wire.CallNumber(n+1), "next")
			require.Len(t, r.arrive, n+1, "of the connection that is there")
			assert.Equal(t, "next", string(r.data(r.last)))

			// Somebody new, whose answer takes as long as fifty beginnings of the others.
			at, cid := v4(1_000_000+i), wire.CID(1<<20+4*i)
			r.sealed(at, cid, 1, "new")
			for j := range 20 {
				r.begins(v4(100_000+20*i+j), 80, pattern(1400)...)
			}
			r.proves(at, cid)
			require.Len(t, r.arrive, n+2, "with what was held of it")
			assert.Equal(t, "new", string(r.data(r.last)))
			r.last.Release(r.now)
		}
		r.later(time.Millisecond)
	}
	assert.LessOrEqual(t, r.stats.LiveHalfOpen, 100)
	assert.NotZero(t, r.stats.HalfOpenEvicted)
	assert.Zero(t, r.stats.Busied)
	assert.Less(t, r.stats.LivePeers, 40, "nothing else is remembered of the flood")
	r.later(time.Minute)
	assert.Zero(t, r.stats.LiveHalfOpen)
}

// Who had to wait for so long that it was forgotten begins again by sending its packets again.
func TestAHalfOpenConnectionThatWasEvictedBeginsAgain(t *testing.T) {
	r := securedRig(t, Config{Limits: Limits{HalfOpen: 10}})
	r.sealed(clientAddr, 4, 1, "x")
	assert.Equal(t, []string{"CHALLENGE call 0"}, r.texts())
	for i := range 20 {
		r.begins(v4(i), 8)
	}
	r.out()
	r.proves(clientAddr, 4)
	assert.Empty(t, r.arrive)
	a := fromClient(wire.TypeAck, 1, 0)
	a.CID, a.Security = 4, wire.SecurityRxKAD
	r.in(a, ack(wire.AckPing, 1, 0, 0)...)
	assert.Empty(t, r.texts(), "no ABORT, neither for a RESPONSE nor for a PING")
	r.sealed(clientAddr, 4, 1, "x")
	assert.Equal(t, []string{"CHALLENGE call 0"}, r.texts())
	r.proves(clientAddr, 4)
	assert.Equal(t, "x", string(r.data(r.last)))
}

// One address, forged or not, can push out its own only.
func TestHalfOpenConnectionsOfOneHost(t *testing.T) {
	r := securedRig(t, Config{Limits: Limits{HalfOpen: 100, ConnsPerHost: 10}})
	r.sealed(clientAddr, 4, 1, "x")
	for i := range 1000 {
		r.begins(v4(7), wire.CID(4*i))
		r.check(t)
	}
	assert.Equal(t, 11, r.stats.LiveHalfOpen)
	r.proves(clientAddr, 4)
	assert.Len(t, r.arrive, 1)
}

// What is held of all is limited: the oldest lose it, and not their connections.
func TestPacketsHeldOfAll(t *testing.T) {
	r := securedRig(t, Config{Limits: Limits{HalfOpenBytes: 20_000}})
	for i := range 100 {
		r.sealed(v4(i), wire.CID(4*i), 1, string(pattern(1000)))
		r.check(t)
	}
	r.out()
	assert.Equal(t, 100, r.stats.LiveHalfOpen)
	for i := range 100 {
		r.proves(v4(i), wire.CID(4*i))
		r.check(t)
	}
	assert.Equal(t, 100, r.stats.LiveServiceConns)
	assert.Len(t, r.arrive, 17)
	r.sealed(v4(0), 0, 1, string(pattern(1000)))
	assert.Len(t, r.arrive, 18, "after the RESPONSE it counts at once")
}

// When everything is full of those who have proven themselves another one is told BUSY, and can prove itself later.
func TestNoRoomForAConnectionThatIsProven(t *testing.T) {
	r := securedRig(t, Config{Limits: Limits{ServiceConns: 1}})
	r.sealed(clientAddr, 4, 1, "a")
	r.proves(clientAddr, 4)
	first := r.last
	r.sealed(v4(1), 8, 1, "b")
	r.out()
	r.proves(v4(1), 8)
	assert.Equal(t, []string{"BUSY call 1"}, r.texts())
	assert.Len(t, r.arrive, 1)
	first.Abort(r.now, 1)
	first.Release(r.now)
	r.sealed(v4(1), 8, 1, "b")
	r.proves(v4(1), 8)
	assert.Len(t, r.arrive, 2)
	r.check(t)
}

// A client that gives up, an address that cannot be reached, a service that ends.
func TestHalfOpenConnectionsThatEnd(t *testing.T) {
	r := securedRig(t, Config{})
	abort := func(call wire.CallNumber) {
		h := fromClient(wire.TypeAbort, call, 0)
		h.CID, h.Security = 4, wire.SecurityRxKAD
		r.in(h, 0, 0, 0, 1)
	}
	r.sealed(clientAddr, 4, 1, "x")
	r.sealed(clientAddr, 4, 2, "y")
	abort(1)
	r.check(t)
	r.proves(clientAddr, 4)
	require.Len(t, r.arrive, 1)
	assert.Equal(t, "y", string(r.data(r.last)))

	r.sealed(v4(1), 8, 1, "x")
	h := wire.Header{Epoch: 0x87654321, CID: 8}
	r.NetError(r.now, NetError{To: v4(1), Errno: syscall.ECONNREFUSED, Quoted: h.Append(nil)})
	assert.Zero(t, r.stats.LiveHalfOpen)

	r.sealed(v4(2), 12, 1, "x")
	r.out()
	r.Endpoint.Close(r.now)
	assert.Contains(t, r.texts(), "ABORT -1 call 0", "RX_CALL_DEAD is what clients would find out")
	assert.Zero(t, r.stats.LiveHalfOpen)
	r.check(t)
}

// It is a small thing, whatever it is that came first.
func TestMemoryOfAHalfOpenConnection(t *testing.T) {
	const n = 20_000
	assert.LessOrEqual(t, unsafe.Sizeof(halfOpen{}), uintptr(352))
	if raceDetector {
		return
	}
	for _, row := range []struct{ data, most int }{{0, 900}, {1410, 900 + 1536}} {
		r := securedRig(t, Config{Limits: Limits{RepliesPerSecond: -1, RepliesInAll: -1, HalfOpenBytes: -1}})
		use := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		body := make([]byte, row.data)
		before := use()
		for i := range n {
			r.begins(v4(i), wire.CID(4*i), body...)
			for _, _, ok := r.Transmit(r.now, r.buf); ok; _, _, ok = r.Transmit(r.now, r.buf) {
			}
		}
		each := int(use()-before) / n
		assert.Equal(t, n, r.stats.LiveHalfOpen)
		assert.LessOrEqual(t, each, row.most)
		t.Logf("%d bytes each with %d bytes of data, %d of them the record", each, row.data, unsafe.Sizeof(halfOpen{}))
	}
}

// The call numbers of a RESPONSE say what is the past (OpenAFS and Linux count the call that they have begun; OpenAFS one more
// between calls): what was held of it goes, calls of the present and of the future that have arrived before are taken.
func TestCallNumbersOfAResponse(t *testing.T) {
	sc := &xorConn{x: &xorClass{key: 7}, id: ConnID{Epoch: 0x87654321, CID: 4}}
	for _, row := range []struct {
		name    string
		numbers [4]wire.CallNumber
		held    []wire.CallNumber // calls that arrive before the RESPONSE, on channel 0
		taken   []wire.CallNumber
		after   wire.CallNumber // the next call that is taken
	}{
		{"its first call", [4]wire.CallNumber{1}, []wire.CallNumber{1}, []wire.CallNumber{1}, 2},
		{"after a restart of the server", [4]wire.CallNumber{5}, []wire.CallNumber{5}, []wire.CallNumber{5}, 6},
		{"one more, between calls", [4]wire.CallNumber{6}, []wire.CallNumber{6}, []wire.CallNumber{6}, 7},
		{"nothing has arrived", [4]wire.CallNumber{5}, nil, nil, 5},
		{"an old one, and the one of now", [4]wire.CallNumber{5}, []wire.CallNumber{3, 5}, []wire.CallNumber{5}, 6},
		{"one that began after the response", [4]wire.CallNumber{5}, []wire.CallNumber{6}, []wire.CallNumber{6}, 7},
		{"both", [4]wire.CallNumber{5}, []wire.CallNumber{6, 5}, []wire.CallNumber{6}, 7},
		{"on other channels", [4]wire.CallNumber{0, 9, 2}, []wire.CallNumber{1}, []wire.CallNumber{1}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := securedRig(t, Config{})
			r.begins(clientAddr, 4) // somebody else's
			for _, n := range row.held {
				r.sealed(clientAddr, 4, n, "x")
			}
			resp, err := sc.Respond(nil, []byte("who are you?"), row.numbers)
			require.NoError(t, err)
			h := fromClient(wire.TypeResponse, 0, 0)
			h.CID, h.Security = 4, wire.SecurityRxKAD
			r.in(h, resp...)
			r.check(t)
			var taken []wire.CallNumber
			for _, c := range r.arrive {
				_, _, n := c.ID()
				taken = append(taken, n)
			}
			assert.Equal(t, row.taken, taken)
			past := row.after - 1
			was := len(r.arrive)
			if past > 0 && len(row.taken) == 0 {
				r.sealed(clientAddr, 4, past, "past")
				assert.Len(t, r.arrive, was)
			}
			r.sealed(clientAddr, 4, row.after, "next")
			assert.Len(t, r.arrive, was+1)
		})
	}
	r := securedRig(t, Config{})
	r.sealed(clientAddr, 4, 1, "x")
	r.out()
	resp, err := sc.Respond(nil, []byte("who are you?"), [4]wire.CallNumber{1, 1 << 31})
	require.NoError(t, err)
	h := fromClient(wire.TypeResponse, 0, 0)
	h.CID, h.Security = 4, wire.SecurityRxKAD
	r.in(h, resp...)
	assert.Equal(t, []string{"ABORT -5 call 0"}, r.texts(), "RX_PROTOCOL_ERROR")
	assert.Empty(t, r.arrive)
}
