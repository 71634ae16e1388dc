package proto

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func securePair(t testing.TB, key, wants byte) (w *world, client, server *station, served *[]*task, p CallParams) {
	w = newWorld(t)
	client = w.add(clientAddr, Config{Epoch: clientEpoch}).client()
	server = w.add(serverAddr, Config{})
	_, served = server.serve(ServiceParams{
		IDs: []wire.ServiceID{testService}, Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: wants}},
	}, echo)
	return w, client, server, served, CallParams{Security: &xorClass{key: key}}
}

func TestSecuredCalls(t *testing.T) {
	for _, size := range []int{0, 1, 1410, 1411, 100_000} {
		w, client, _, served, p := securePair(t, 7, 7)
		for range 3 {
			c := client.call(p, pattern(size))
			w.until(time.Minute, func() bool { return c.ended })
			require.Equal(t, Result{Completion: Succeeded}, c.result)
			require.True(t, bytes.Equal(pattern(size), c.got))
		}
		assert.Len(t, *served, 3)
		assert.EqualValues(t, 1, client.stats.Transmitted[wire.TypeResponse])
	}
}

// Full packets of a class whose bodies are shorter than places in a jumbo datagram are filled up, and arrive as they were. Alone they are
// as long as they are.
func TestStretchedPackets(t *testing.T) {
	for _, stretch := range []int{0, 4, 11} {
		w := newWorld(t)
		client := w.add(clientAddr, Config{Epoch: clientEpoch, MTU: MTU{Interface: 65535}}).client()
		server := w.add(serverAddr, Config{MTU: MTU{Interface: 65535}})
		x := &xorClass{key: 7, stretch: stretch}
		server.serve(ServiceParams{IDs: []wire.ServiceID{testService}, Accept: AcceptAuto, Security: []ServerSecurity{x}}, echo)
		alone := 0
		w.onWire = func(_, _ netip.AddrPort, b []byte) bool {
			h, body, err := wire.ParseHeader(b)
			require.NoError(t, err)
			if h.Type == wire.TypeData && !h.Flags.Has(wire.JumboPacket) {
				alone = max(alone, len(body))
			}
			return true
		}
		c := client.call(CallParams{Security: x}, pattern(1_000_000))
		w.until(time.Minute, func() bool { return c.ended })
		require.Equal(t, Result{Completion: Succeeded}, c.result)
		require.True(t, bytes.Equal(pattern(1_000_000), c.got))
		assert.Greater(t, client.stats.JumboOut, uint64(20), stretch)
		assert.Greater(t, server.stats.JumboOut, uint64(20), stretch)
		assert.LessOrEqual(t, alone, wire.JumboData-stretch)
	}
}

func TestSecuredCallsOverABadLine(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, client, _, served, p := securePair(t, 7, 7)
			r := rand.New(rand.NewPCG(seed, 2))
			w.onWire = func(from, to netip.AddrPort, b []byte) bool {
				if r.IntN(10) == 0 {
					w.queue = append(w.queue, packet{w.now.Add(time.Duration(r.IntN(30)) * time.Millisecond), from, to, b})
				}
				return r.IntN(100) >= 15
			}
			var all []*task
			for i := range 10 {
				all = append(all, client.call(p, pattern(i*2000)))
			}
			w.until(5*time.Minute, func() bool {
				for _, c := range all {
					if !c.ended {
						return false
					}
				}
				return true
			})
			for i, c := range all {
				require.Equal(t, Result{Completion: Succeeded}, c.result)
				require.True(t, bytes.Equal(pattern(i*2000), c.got))
			}
			assert.Len(t, *served, 10)
		})
	}
}

func TestAClientWithTheWrongKey(t *testing.T) {
	w, client, server, served, p := securePair(t, 7, 8)
	c := client.call(p, []byte("x"))
	w.until(time.Minute, func() bool { return c.ended })
	assert.Equal(t, RemotelyAborted, c.result.Completion)
	assert.Equal(t, xorCode, c.result.Code)
	assert.Empty(t, *served, "the application has never heard of it")
	w.run(time.Minute)
	assert.Zero(t, server.stats.LiveServiceConns)
	assert.Zero(t, server.stats.LiveCalls)
}

// Checklist 8: a CHALLENGE that is lost comes again, data waits for the RESPONSE.
func TestALostChallengeComesAgain(t *testing.T) {
	w, client, server, served, p := securePair(t, 7, 7)
	lost := 0
	w.onWire = func(_, _ netip.AddrPort, b []byte) bool {
		if typ := wire.PacketType(b[20]); (typ == wire.TypeChallenge || typ == wire.TypeResponse) && lost < 4 {
			lost++
			return false
		}
		return true
	}
	c := client.call(p, pattern(5000))
	w.until(time.Second, func() bool { return server.stats.LiveHalfOpen == 1 })
	w.run(time.Second)
	assert.Empty(t, *served, "not before the RESPONSE")
	w.until(19*time.Second, func() bool { return c.ended })
	assert.Equal(t, Succeeded, c.result.Completion)
	assert.True(t, bytes.Equal(pattern(5000), c.got))
	assert.Equal(t, 4, lost)
}

// Clients that prove themselves are challenged as often as they like, within what is on its way at a time: the limit is for
// those who do not.
func TestChallengesThatAreAnsweredAreNotLimited(t *testing.T) {
	w := newWorld(t)
	client := w.add(clientAddr, Config{Epoch: clientEpoch}).client()
	server := w.add(serverAddr, Config{Limits: Limits{RepliesPerSecond: 10, RepliesInAll: 10}})
	server.serve(ServiceParams{
		IDs: []wire.ServiceID{testService}, Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}},
	}, echo)
	p := CallParams{Security: &xorClass{key: 7}, Exclusive: true}
	began := w.now
	for range 100 {
		c := client.call(p, pattern(10))
		w.until(time.Minute, func() bool { return c.ended })
		require.Equal(t, Result{Completion: Succeeded}, c.result)
	}
	assert.Less(t, time.Duration(w.now-began), 5*time.Second)
	assert.EqualValues(t, 100, server.stats.Transmitted[wire.TypeChallenge])
	assert.Zero(t, server.stats.RepliesLimited)
}

// A first CHALLENGE that must not be sent is sent when the client asks for its call.
func TestAChallengeThatWasLimitedComesLater(t *testing.T) {
	w := newWorld(t)
	client := w.add(clientAddr, Config{Epoch: clientEpoch}).client()
	server := w.add(serverAddr, Config{Limits: Limits{RepliesPerSecond: 10, RepliesInAll: 10}})
	server.serve(ServiceParams{
		IDs: []wire.ServiceID{testService}, Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}},
	}, echo)
	var all []*task
	for range 20 { // at once
		all = append(all, client.call(CallParams{Security: &xorClass{key: 7}, Exclusive: true}, pattern(10)))
	}
	w.until(10*time.Second, func() bool {
		for _, c := range all {
			if !c.ended {
				return false
			}
		}
		return true
	})
	for _, c := range all {
		assert.Equal(t, Result{Completion: Succeeded}, c.result)
	}
	assert.NotZero(t, server.stats.RepliesLimited)
}

// Section 3.3 and checklist 8: every 2 s, as long as there is a call. One that is silent, and whose address may
// be forged, ends with the time of its calls.
func TestASilentClientIsChallengedUntilItsCallEnds(t *testing.T) {
	r := newRig(t, Config{})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}}})
	h := fromClient(wire.TypeData, 1, 1)
	h.Security = wire.SecurityRxKAD
	r.in(h, pattern(1000)...)
	assert.Equal(t, []string{"CHALLENGE call 0"}, r.texts())
	for i := range 9 {
		assert.NotContains(t, r.laterTexts(1999*time.Millisecond), "CHALLENGE call 0", i)
		assert.Equal(t, []string{"CHALLENGE call 0"}, r.laterTexts(time.Millisecond), i)
	}
	assert.Empty(t, r.laterTexts(time.Minute), "it has ended its call as well, or was never there")
	assert.Empty(t, r.arrive)
	assert.Zero(t, r.stats.LiveHalfOpen)
	assert.Empty(t, r.hosts)
	assert.Zero(t, r.stats.LiveCalls)
	assert.Zero(t, r.stats.LiveServiceConns)
}

// A client that goes on talking and never proves itself has 50 tries.
func TestAClientThatNeverResponds(t *testing.T) {
	r := newRig(t, Config{Timers: Timers{RequestIdle: -1}})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}}})
	h := fromClient(wire.TypeData, 1, 1)
	h.Security = wire.SecurityRxKAD
	challenges, end := 0, time.Duration(0)
	for start := r.now; end == 0 && r.now < start.Add(time.Hour); {
		r.in(h, pattern(1000)...)
		for _, p := range r.later(700 * time.Millisecond) {
			switch p.Type {
			case wire.TypeChallenge:
				challenges++
			case wire.TypeAbort:
				assert.Zero(t, p.Call, "of the connection")
				end = r.now.Sub(start)
			}
		}
	}
	assert.Equal(t, 50, challenges)
	assert.InDelta(t, 100, end.Seconds(), 1)
	assert.Empty(t, r.arrive)
	r.later(time.Minute)
	assert.Zero(t, r.stats.LiveCalls)
	assert.Zero(t, r.stats.LiveServiceConns)
}

// An address that anybody can forge gets no more CHALLENGEs than other answers.
func TestChallengesAreLimitedPerSecond(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{RepliesPerSecond: 10}})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}}})
	for i := range 1000 {
		h := fromClient(wire.TypeData, 1, 1)
		h.CID, h.Security = wire.CID(4*i), wire.SecurityRxKAD
		r.in(h, 'x')
	}
	n := 0
	for _, p := range r.later(20 * time.Second) {
		if p.Type == wire.TypeChallenge {
			n++
		}
	}
	assert.Greater(t, n, 50, "some of them every 2 s")
	assert.LessOrEqual(t, n, 210)
}

// A client that has sent everything waits and says nothing: it hears of the CHALLENGE all the same.
func TestALostChallengeComesByTimer(t *testing.T) {
	w, client, _, _, p := securePair(t, 7, 7)
	asked, heard := 0, 0
	w.onWire = func(from, _ netip.AddrPort, b []byte) bool {
		typ := wire.PacketType(b[20])
		if from == clientAddr && asked > 0 {
			heard++
			return typ == wire.TypeResponse || typ == wire.TypeData && asked > 3
		}
		if typ == wire.TypeChallenge {
			asked++
		}
		return typ != wire.TypeChallenge || asked > 3
	}
	c := client.call(p, []byte("x"))
	w.until(10*time.Second, func() bool { return c.ended })
	assert.Equal(t, Succeeded, c.result.Completion)
	assert.Equal(t, 4, asked, "with nothing of the client in between")
	assert.NotZero(t, heard)
}

func TestDataHeldForAResponseIsBounded(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{HeldBytes: 10_000}})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 7}}})
	for seq := wire.Seq(1); seq <= 200; seq++ {
		h := fromClient(wire.TypeData, 1, seq)
		h.Security = wire.SecurityRxKAD
		r.in(h, pattern(1000)...)
	}
	assert.LessOrEqual(t, r.half.bytes, 10_000)
	assert.Len(t, r.half.all.head.held, 8)
	assert.Equal(t, []string{"CHALLENGE call 0"}, r.texts(), "nothing is acknowledged")
	assert.Empty(t, r.allConns)
	assert.Zero(t, r.stats.LiveCalls)
}

// What was held may be somebody else's: it goes, and the client's own takes its place.
func TestForgedDataBeforeTheResponse(t *testing.T) {
	x := &xorClass{key: 7}
	r := newRig(t, Config{})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{x}})
	sc := &xorConn{x: x, id: ConnID{Epoch: 0x87654321, CID: 0x1000}}
	h := fromClient(wire.TypeData, 1, 1)
	h.Security, h.Flags, h.Checksum = wire.SecurityRxKAD, h.Flags|last, 1
	r.in(h, pattern(100)...)
	r.out()
	resp, err := sc.Respond(nil, []byte("who are you?"), [4]wire.CallNumber{1})
	require.NoError(t, err)
	rh := fromClient(wire.TypeResponse, 0, 0)
	rh.Security = wire.SecurityRxKAD
	r.in(rh, resp...)
	assert.Empty(t, r.arrive)
	assert.Equal(t, []string{"checksum"}, r.drops)
	assert.Empty(t, r.texts(), "nor is the client told of a packet that is not its own")
	assert.Equal(t, 1, r.stats.LiveServiceConns)
	body, sum, err := sc.Seal(nil, PacketID{Call: 1, Seq: 1, ToServer: true}, []byte("real"))
	require.NoError(t, err)
	h.Checksum, h.Serial = sum, 0
	r.in(h, body...)
	assert.Equal(t, "real", string(r.data(r.last)))

	// A second RESPONSE is ignored.
	r.drops = nil
	r.in(rh, resp...)
	assert.Equal(t, []string{"RESPONSE that nobody expects"}, r.drops)

	// Neither does a forged packet do anything to the next call, or to this one.
	h.Call, h.Checksum, h.Serial = 2, 1, 0
	r.in(h, body...)
	assert.Len(t, r.arrive, 1)
	assert.Equal(t, Running, r.last.Result().Completion)
}

func TestNobodyIsAnOracle(t *testing.T) {
	x := &xorClass{key: 7}
	r := newRig(t, Config{})
	c := r.begin(CallParams{Security: x}, []byte("x"))
	h := fromServer(c, wire.TypeChallenge, 0)
	h.Call, h.Security = 0, wire.SecurityRxKAD
	r.in(h, []byte("who are you?")...)
	assert.Equal(t, []string{"CHALLENGE that nobody expects"}, r.drops, "no packet of a call was sent")
	r.out()
	r.in(h, []byte("who are you?")...)
	r.in(h, []byte("who are you?")...)
	assert.Equal(t, []string{"RESPONSE call 0"}, r.texts(), "one at a time")
	c.Abort(r.now, 1)
	r.out()
	r.in(h, []byte("who are you?")...)
	assert.Empty(t, r.texts())

	// On a connection without security there is nothing to prove.
	d := r.begin(CallParams{}, []byte("x"))
	r.out()
	h = fromServer(d, wire.TypeChallenge, 0)
	h.Call = 0
	r.in(h, []byte("who are you?")...)
	assert.Empty(t, r.texts())
	assert.Equal(t, Running, d.Result().Completion)
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	r := newRig(t, Config{})
	_, err := r.NewCall(r.now, &CallParams{Peer: serverAddr, Service: 1, Security: &xorClass{refuse: errno.KeyExpired}})
	assert.ErrorIs(t, err, errno.KeyExpired)
	assert.Zero(t, r.stats.LiveCalls)
	r.later(2 * time.Minute)
	assert.Zero(t, r.stats.LivePeers)
	assert.Empty(t, r.bundles)

	x := &xorClass{key: 3, refuse: &AbortError{Code: 19270408, Reason: "no server key"}}
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{x}})
	h := fromClient(wire.TypeData, 1, 1)
	h.Security = wire.SecurityRxKAD
	r.in(h)
	out := r.out()
	require.Len(t, out, 1)
	assert.Equal(t, "ABORT 19270408 call 1", out[0].String())
	assert.Equal(t, wire.SecurityRxKAD, out[0].Security, "so that the client finds its connection")
	assert.Zero(t, r.stats.LiveServiceConns)

	// The key expires while the connection is there.
	w, client, server, _, p := securePair(t, 7, 7)
	c := client.call(p, nil)
	w.until(time.Second, func() bool { return c.ended })
	server.allConns[0].sec.(*xorConn).x.expired = &AbortError{Code: 19270409, Reason: "expired"}
	c = client.call(p, nil)
	w.until(time.Second, func() bool { return c.ended })
	assert.EqualValues(t, 19270409, c.result.Code)
}

func TestSealedPacketsAreNotOpenedInPlace(t *testing.T) {
	w, client, _, _, p := securePair(t, 7, 7)
	var sent [][]byte
	w.onWire = func(_, _ netip.AddrPort, b []byte) bool {
		sent = append(sent, b, bytes.Clone(b))
		return true
	}
	c := client.call(p, pattern(10_000))
	w.until(time.Second, func() bool { return c.ended })
	for i := 0; i < len(sent); i += 2 {
		assert.True(t, bytes.Equal(sent[i+1], sent[i]), "a datagram was written to")
	}
}

func TestACallSecuredByAnotherKeyHasItsOwnConnection(t *testing.T) {
	r := newRig(t, Config{})
	cids := map[wire.CID]bool{}
	for _, p := range []CallParams{
		{},
		{Security: &xorClass{key: 1}},
		{Security: &xorClass{key: 2}},
		{Service: 148},
		{Upgrade: true},
		{Exclusive: true},
		{Exclusive: true},
		{Peer: netip.MustParseAddrPort("10.0.0.3:7000")},
		{Peer: netip.MustParseAddrPort("10.0.0.2:7001")},
	} {
		_, cid, _ := r.begin(p, []byte("x")).ID()
		cids[cid.ConnID()] = true
	}
	assert.Len(t, cids, 9)
	_, cid, _ := r.begin(CallParams{Security: &xorClass{key: 2}}, []byte("x")).ID()
	assert.True(t, cids[cid.ConnID()])
}

func TestErrorsOfHooksKeepTheirCode(t *testing.T) {
	assert.EqualValues(t, 5, codeOf(fmt.Errorf("wrapped: %w", &AbortError{Code: 5}), 1))
	assert.EqualValues(t, 1, codeOf(errors.New("other"), 1))
}
