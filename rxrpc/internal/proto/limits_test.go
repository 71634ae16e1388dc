package proto

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func v4(n int) netip.AddrPort {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0b000000+uint32(n))
	return netip.AddrPortFrom(netip.AddrFrom4(b), 7001)
}

func TestRepliesAreLimitedPerSecond(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{RepliesPerSecond: 10, RepliesInAll: 100, Replies: 1000}})
	probe := func(from netip.AddrPort, n int) int {
		for range n {
			r.inFrom(from, fromClient(wire.TypeData, 1, 1))
		}
		return len(r.out())
	}
	assert.Equal(t, 5, probe(clientAddr, 100), "half a second's at once")
	assert.Zero(t, probe(clientAddr, 100))
	r.later(time.Second)
	assert.Equal(t, 5, probe(clientAddr, 100))
	n := 0
	for range 200 {
		r.later(10 * time.Millisecond)
		n += probe(clientAddr, 10)
	}
	assert.InDelta(t, 20, n, 3)
	r.later(10 * time.Second)
	n = 0
	for i := range 500 {
		n += probe(v4(i), 1)
	}
	assert.Equal(t, 50, n, "to all together")
	assert.NotZero(t, r.stats.RepliesLimited)
	assert.Equal(t, r.stats.Transmitted[wire.TypeAbort], r.stats.Rejected)
}

func TestRepliesThatAreNotSentAreBounded(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Replies: 8, RepliesPerSecond: -1, RepliesInAll: -1}})
	for i := range 1000 {
		r.inFrom(v4(i), fromClient(wire.TypeData, 1, 1))
	}
	assert.Len(t, r.out(), 8)
}

func TestNobodyAnswersWhatCannotBeASender(t *testing.T) {
	for _, from := range []string{"10.0.0.1:0", "224.0.0.1:7001", "255.255.255.255:7001", "0.0.0.0:7001", "[::]:7001", "[ff02::1]:7001"} {
		r := newRig(t, Config{})
		r.auto()
		h := fromClient(wire.TypeVersion, 1, 0)
		r.inFrom(netip.MustParseAddrPort(from), h, 0)
		r.inFrom(netip.MustParseAddrPort(from), fromClient(wire.TypeDebug, 1, 0), 0, 0, 0, 1, 0, 0, 0, 0)
		r.inFrom(netip.MustParseAddrPort(from), fromClient(wire.TypeData, 1, 1), 'x')
		r.inFrom(netip.MustParseAddrPort(from), fromClient(wire.TypeAck, 1, 0), ack(6, 1, 0, 0)...)
		assert.Empty(t, r.later(time.Minute), from)
		assert.Empty(t, r.arrive)
		assert.Zero(t, r.stats.LiveServiceConns)
	}
}

func TestConnectionsAndCallsAreBounded(t *testing.T) {
	l := Limits{ServiceConns: 50, ConnsPerHost: 10, ServiceCalls: 40, CallsPerHost: 8, RepliesPerSecond: -1, RepliesInAll: -1}
	r := newRig(t, Config{Limits: l})
	r.auto()
	in := func(from netip.AddrPort, cid int, f wire.Flags) {
		h := fromClient(wire.TypeData, 1, 1)
		h.CID = wire.CID(cid * 4)
		h.Flags |= f
		r.inFrom(from, h, 'x')
	}
	for i := range 30 {
		in(clientAddr, i, 0)
	}
	assert.Equal(t, 8, r.serviceCalls, "of one host")
	assert.Len(t, r.texts(), 22)
	for i := range 100 {
		in(v4(i), 1000+i, 0)
	}
	assert.Equal(t, 40, r.serviceCalls)
	busy := r.texts()
	assert.Equal(t, 68, len(busy))
	assert.Equal(t, "BUSY call 1", busy[0])

	// Idle connections make room for others, the one that is idle longest first.
	for _, c := range r.arrive {
		c.Abort(r.now, 1)
		c.Release(r.now)
	}
	r.out()
	for i := range 1000 {
		in(v4(1000+i), 2000+i, last)
		r.last.Abort(r.now, 1)
		r.last.Release(r.now)
		assert.LessOrEqual(t, r.stats.LiveServiceConns, 50)
		assert.LessOrEqual(t, len(r.allConns), 50)
	}
	assert.Equal(t, 1040, len(r.arrive))
	r.later(2 * time.Hour)
	assert.Zero(t, r.stats.LiveServiceConns)
	assert.Zero(t, r.stats.LivePeers)
	assert.Empty(t, r.hosts)
	assert.Empty(t, r.conns)
}

func TestClientCallsAreBounded(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{ClientCalls: 10}})
	var c *Call
	for range 10 {
		c = r.begin(CallParams{}, nil)
	}
	_, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: 1})
	assert.Equal(t, ErrCalls, err)
	c.Release(r.now)
	r.begin(CallParams{}, nil)
}

func TestPeersAreBounded(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{Peers: 20, RepliesPerSecond: -1}})
	for i := range 200 {
		c := r.begin(CallParams{Peer: v4(i), Exclusive: true}, nil)
		c.Release(r.now)
		r.later(11 * time.Second)
	}
	assert.LessOrEqual(t, len(r.peers), 20)
	assert.Len(t, r.allPeers, len(r.peers))
}

func TestCallsThatCannotBe(t *testing.T) {
	r := newRig(t, Config{})
	for _, row := range []struct {
		peer    string
		service wire.ServiceID
		err     error
	}{
		{"10.0.0.2:7000", 0, ErrService},
		{"10.0.0.2:0", 1, ErrAddress},
		{"224.0.0.2:7000", 1, ErrAddress},
		{"0.0.0.0:7000", 1, ErrAddress},
	} {
		_, err := r.NewCall(r.now, &CallParams{Peer: netip.MustParseAddrPort(row.peer), Service: row.service})
		assert.Equal(t, row.err, err, row.peer)
	}
	_, err := r.NewCall(r.now, &CallParams{Service: 1})
	assert.Equal(t, ErrAddress, err)
	c, err := r.NewCall(r.now, &CallParams{Peer: netip.MustParseAddrPort("[::ffff:10.0.0.2]:7000"), Service: 1})
	require.NoError(t, err)
	assert.Equal(t, serverAddr, c.Peer(), "an IPv4 address is one, however written")
}

func TestAnnouncedLength(t *testing.T) {
	r := newRig(t, Config{})
	c, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: 1, HasTxLength: true, TxLength: 5})
	require.NoError(t, err)
	_, err = c.Send(r.now, []byte("123456"), true)
	assert.Equal(t, ErrTooMuch, err)
	_, err = c.Send(r.now, []byte("1234"), false)
	assert.Equal(t, ErrTooMuch, err)
	_, err = c.Send(r.now, []byte("1234"), true)
	require.NoError(t, err)
	_, err = c.Send(r.now, []byte("56"), false)
	assert.Equal(t, ErrTooMuch, err)
	assert.Equal(t, ErrAnnounced, c.SetTxLength(9))
	_, err = c.Send(r.now, []byte("5"), false)
	require.NoError(t, err)
	assert.Equal(t, AwaitReply, func() State { r.out(); return c.State() }())
}

func TestTheSendQueueIsBounded(t *testing.T) {
	for _, cfg := range []Config{{}, {Windows: Windows{Queue: 5}}} {
		r := newRig(t, cfg)
		c, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: 1})
		require.NoError(t, err)
		most := r.cfg.Windows.Queue * 1172
		assert.Equal(t, most, c.Room())
		n, err := c.Send(r.now, make([]byte, 1000000), true)
		require.NoError(t, err)
		assert.Equal(t, most, n)
		assert.Zero(t, c.Room())
		_, err = c.Send(r.now, nil, false)
		assert.Equal(t, ErrFull, err)
		for range 600 {
			r.out()
			next := c.snd.Next()
			r.in(fromServer(c, wire.TypeAck, 0), ack(wire.AckIdle, next, next-1, 0)...)
		}
		assert.True(t, r.what[c].Has(Writable))
		assert.Equal(t, most, c.Room())
	}
}

func TestClosingTheEndpointEndsEverything(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{ConnsPerBundle: 1}})
	r.auto()
	r.dataIn(1, 1, last, "x")
	var calls []*Call
	for range 10 { // of which six wait for a channel
		calls = append(calls, r.begin(CallParams{}, []byte("x")))
	}
	r.out()
	h := fromServer(calls[0], wire.TypeData, 1)
	h.Flags |= last
	r.in(h, 'y') // its end is yet to be acknowledged
	r.out()
	r.Endpoint.Close(r.now)
	r.Endpoint.Close(r.now)
	r.look()
	for i, c := range append(calls, r.arrive[0]) {
		assert.True(t, r.what[c].Has(Ended), i)
		assert.Equal(t, i == 0, c.Result().Completion == Succeeded)
		c.Release(r.now)
	}
	assert.Len(t, r.texts(), 5, "an ABORT for each call that the other side knows")
	assert.True(t, r.Idle())
	_, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: 1})
	assert.Equal(t, ErrClosed, err)
	r.dataIn(2, 1, last, "x")
	assert.Equal(t, []string{"ABORT -2 call 2"}, r.texts())
	r.later(2 * time.Hour)
	assert.Zero(t, r.stats.LiveCalls)
	assert.Empty(t, r.allConns)
	assert.Empty(t, r.bundles)
	assert.Empty(t, r.peers)
}

func ExampleEndpoint() {
	client := New(Config{}, 0)
	server := New(Config{}, 0)
	if _, err := server.Listen(0, ServiceParams{IDs: []wire.ServiceID{147}, Accept: AcceptAuto}); err != nil {
		panic(err)
	}
	call, err := client.NewCall(0, &CallParams{Peer: serverAddr, Service: 147})
	if err != nil {
		panic(err)
	}
	if _, err := call.Send(0, []byte("hello"), false); err != nil {
		panic(err)
	}
	buf := make([]byte, MaxDatagram)
	n, to, _ := client.Transmit(0, buf)
	fmt.Println("to", to.To)
	server.Receive(0, clientAddr, buf[:n])
	ev, _ := server.Event()
	b, last, _ := ev.Call.Take()
	fmt.Printf("%s, last %v\n", b.Bytes(), last)
	b.Release()
	// Output:
	// to 10.0.0.2:7000
	// hello, last true
}
