package proto

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Section 9 of the reference: what other implementations suffered from, by name.

// OPENAFS-SA-2015-007 "Tattletale" (CVE-2015-7762, CVE-2015-7763): bytes of memory in the
// padding of ACKs and of PINGs that search for the path's MTU.
func TestAdvisoryOpenAFS2015007NothingOfMemoryIsSent(t *testing.T) {
	w, client, _, _ := pair(t, Config{MTU: MTU{Interface: 9000}}, Config{MTU: MTU{Interface: 9000}})
	w.dirt = 0xaa
	pings := 0
	w.onWire = func(_, _ netip.AddrPort, b []byte) bool {
		h, body, err := wire.ParseHeader(b)
		require.NoError(t, err)
		assert.Zero(t, h.UserStatus)
		if h.Type != wire.TypeData {
			assert.Zero(t, h.Checksum)
			assert.Zero(t, h.Seq)
		}
		if h.Type != wire.TypeAck {
			return true
		}
		a, err := wire.ParseAck(body)
		require.NoError(t, err)
		if a.Padding > 0 {
			pings++
			assert.Equal(t, make([]byte, a.Padding), body[len(body)-a.Padding:])
		}
		at := wire.AckFixedSize + len(a.Acks)
		assert.Equal(t, []byte{0, 0, 0}, body[at:at+3])
		assert.Zero(t, a.BufferSpace)
		assert.Zero(t, a.MaxSkew)
		return true
	}
	for i := range 5 {
		c := client.call(CallParams{}, pattern(50_000*i))
		w.until(time.Second, func() bool { return c.ended })
	}
	assert.NotZero(t, pings)

	// Replies to strangers too: byte for byte the same, whatever was in the buffer.
	reply := func(fill byte) (all [][]byte) {
		r := newRig(t, Config{Limits: Limits{RepliesPerSecond: -1}})
		r.auto()
		r.begin(CallParams{}, []byte("x"))
		r.out()
		r.inFrom(clientAddr, wire.ToolRequest(wire.TypeVersion, 5), 0)
		for typ := wire.DebugType(0); typ < 7; typ++ {
			r.inFrom(clientAddr, wire.ToolRequest(wire.TypeDebug, 5), wire.DebugRequest{Type: typ}.Append(nil)...)
		}
		r.in(fromClient(wire.TypeAck, 1, 0), ack(6, 1, 0, 0)...)
		h := fromClient(wire.TypeData, 1, 1)
		h.Service = 5
		r.in(h)
		for {
			copy(r.buf, bytes.Repeat([]byte{fill}, len(r.buf)))
			n, _, ok := r.Transmit(r.now, r.buf)
			if !ok {
				return all
			}
			all = append(all, bytes.Clone(r.buf[:n]))
		}
	}
	one, two := reply(0xaa), reply(0x55)
	assert.Len(t, one, 10)
	assert.Equal(t, one, two)
}

// OPENAFS-SA-2017-001 (CVE-2017-17432): absurd numbers in the trailer of an ACK.
func TestAdvisoryOpenAFS2017001AbsurdTrailers(t *testing.T) {
	absurd := []uint32{0, 1, 27, 28, 499, 500, 1412, 0x7fffffff, 0x80000000, 0xffffffff}
	if raceDetector {
		absurd = []uint32{0, 28, 500, 0x7fffffff, 0xffffffff}
	}
	for _, mtu := range absurd {
		for _, wind := range absurd {
			for _, jumbo := range absurd {
				r := newRig(t, Config{MTU: MTU{Interface: 65535}})
				c := r.begin(CallParams{}, pattern(200_000))
				sent := len(r.out())
				a := wire.Ack{First: 2, Previous: 1, Reason: wire.AckIdle, Trailer: wire.AckTrailer{MaxMTU: mtu, IfMTU: mtu, RWind: wind, JumboMax: jumbo, Words: 4}}
				r.in(fromServer(c, wire.TypeAck, 0), a.Append(nil)...)
				for _, p := range r.later(2 * time.Second) {
					sent++
					assert.LessOrEqual(t, len(p.body), maxBody)
				}
				assert.Less(t, sent, 600)
				assert.GreaterOrEqual(t, c.peer.body(), minBody)
				assert.LessOrEqual(t, c.peer.body(), wire.JumboData)
				assert.Equal(t, Running, c.Result().Completion)
			}
		}
	}
}

// "Potential DoS against Rx servers" (OpenAFS 1.6.8): half-open calls and connections from
// anywhere, without an end.
func TestAdvisoryOpenAFS168HalfOpenCallsAreBounded(t *testing.T) {
	l := Limits{ServiceConns: 100, ServiceCalls: 100, CallsPerHost: 20, ConnsPerHost: 20}
	r := newRig(t, Config{Limits: l})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 1}}})
	for i := range 5000 {
		h := fromClient(wire.TypeData, 1, wire.Seq(i%3+1))
		h.CID = wire.CID(i)
		if i%2 == 0 {
			h.Security = wire.SecurityRxKAD
		}
		r.inFrom(v4(i%400), h, pattern(1000)...)
	}
	assert.LessOrEqual(t, r.stats.LiveServiceConns, 100)
	assert.LessOrEqual(t, r.stats.LiveCalls, 100)
	for _, h := range r.hosts {
		assert.LessOrEqual(t, h.calls, 20)
		assert.LessOrEqual(t, h.conns, 20)
	}
	r.later(3 * time.Minute)
	for _, c := range r.arrive {
		c.Release(r.now)
	}
	r.later(3 * time.Hour)
	assert.Zero(t, r.stats.LiveServiceConns, "there are timers on everything")
	assert.Zero(t, r.stats.LiveCalls)
	assert.Empty(t, r.peers)
	assert.Empty(t, r.hosts)
}

// CVE-2023-2006: a bundle goes while its connection is being removed.
func TestAdvisoryCVE20232006BundlesAndConnectionsGoTogether(t *testing.T) {
	r := newRig(t, Config{Limits: Limits{ConnsPerBundle: 1}})
	for range 50 {
		var calls []*Call
		for range 12 {
			calls = append(calls, r.begin(CallParams{}, []byte("x")))
		}
		r.out()
		h := fromServer(calls[0], wire.TypeAbort, 0)
		h.Call = 0
		r.in(h, 0, 0, 0, 1) // the connection ends, those that wait get another one
		for i, c := range calls {
			assert.Equal(t, i < 4, c.Result().Completion == RemotelyAborted)
		}
		for i := len(calls) - 1; i >= 0; i-- {
			calls[i].Release(r.now)
		}
		r.later(time.Minute)
	}
	r.later(time.Hour)
	assert.Empty(t, r.bundles)
	assert.Empty(t, r.clients)
	assert.Zero(t, r.stats.LiveCalls)
	_, ok := r.Deadline()
	assert.False(t, ok)
}

// CVE-2026-31638: a packet for a call that is being torn down.
func TestAdvisoryCVE202631638PacketsAfterTheEnd(t *testing.T) {
	types := []wire.PacketType{wire.TypeData, wire.TypeAck, wire.TypeAckAll, wire.TypeAbort, wire.TypeBusy}
	ends := map[string]func(r *rig, c *Call){
		"aborted":  func(r *rig, c *Call) { c.Abort(r.now, 1) },
		"released": func(r *rig, c *Call) { c.Release(r.now) },
		"timed out": func(r *rig, c *Call) {
			c.SetTimeouts(r.now, Timeouts{Hard: time.Millisecond})
			r.later(time.Second)
		},
		"gone": func(r *rig, c *Call) { c.Release(r.now); r.later(time.Hour) },
	}
	for name, end := range ends {
		for _, typ := range types {
			t.Run(fmt.Sprint(name, " ", typ), func(t *testing.T) {
				r := newRig(t, Config{})
				r.auto()
				c := r.begin(CallParams{}, []byte("x"))
				r.dataIn(1, 1, last, "x")
				s := r.last
				r.out()
				hc, hs := fromServer(c, typ, 0), fromClient(typ, 1, 0)
				if typ == wire.TypeData {
					hc.Seq, hs.Seq = 1, 1
				}
				end(r, c)
				end(r, s)
				for range 3 {
					r.in(hc, ack(wire.AckPing, 1, 0, 0)...)
					if typ != wire.TypeData || name != "gone" {
						r.in(hs, ack(wire.AckPing, 1, 0, 0)...)
					}
					r.later(time.Second)
				}
				assert.Len(t, r.arrive, 1)
			})
		}
	}
}

// CVE-2026-43500 "Dirty Frag": decryption in a buffer that others see. Opening goes into memory of
// the call, and what a jumbo datagram's other packets are made of stays as it was.
func TestAdvisoryCVE202643500ReceivedBytesAreNotWrittenTo(t *testing.T) {
	x := &xorClass{key: 0x5a}
	r := newRig(t, Config{})
	r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{x}})
	sc := &xorConn{x: x, id: ConnID{Epoch: 0x87654321, CID: 0x1000}}
	var j wire.Joiner
	j.Reset(nil)
	for seq := wire.Seq(1); seq <= 5; seq++ {
		h := fromClient(wire.TypeData, 1, seq)
		body, sum, err := sc.Seal(nil, PacketID{Call: 1, Seq: seq, ToServer: true}, pattern(1410))
		require.NoError(t, err)
		h.Security, h.Checksum, h.Serial = wire.SecurityRxKAD, sum, wire.Serial(seq)
		if seq == 5 {
			h.Flags |= last
		}
		require.NoError(t, j.Add(h, body))
	}
	datagram := j.Bytes()
	was := bytes.Clone(datagram)
	for range 2 { // held first, opened later
		r.Receive(r.now, clientAddr, datagram)
		assert.True(t, bytes.Equal(was, datagram))
		resp, _ := sc.Respond(nil, []byte("who are you?"), [4]wire.CallNumber{1})
		h := fromClient(wire.TypeResponse, 0, 0)
		h.Security = wire.SecurityRxKAD
		r.in(h, resp...)
		assert.True(t, bytes.Equal(was, datagram))
	}
	assert.True(t, bytes.Equal(bytes.Repeat(pattern(1410), 5), r.data(r.last)))
	opened := r.allConns[0].sec.(*xorConn).opened
	assert.Equal(t, 5, opened, "each once")
}

// CVE-2026-46012 and the merge cade36eed7: a RESPONSE that is refused, of any length, leaves nothing.
func TestAdvisoryCVE202646012RefusedResponsesLeaveNothing(t *testing.T) {
	for n := range 60 {
		r := newRig(t, Config{})
		r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 1}}})
		h := fromClient(wire.TypeData, 1, 1)
		h.Security = wire.SecurityRxKAD
		r.in(h, pattern(1000)...)
		sec := r.half.all.head.sec.(*xorConn)
		rh := fromClient(wire.TypeResponse, 0, 0)
		rh.Security = wire.SecurityRxKAD
		r.out()
		r.in(rh, make([]byte, n*n)...)
		assert.Equal(t, []string{"ABORT 19270410 call 0"}, r.texts())
		assert.Empty(t, r.arrive)
		assert.Zero(t, r.stats.LiveCalls)
		assert.Zero(t, r.stats.LiveServiceConns)
		assert.Zero(t, r.stats.LiveHalfOpen)
		assert.Empty(t, r.peers)
		assert.Empty(t, r.hosts)
		assert.True(t, sec.wiped)
	}
}

// Busy-channel corruption (OpenAFS commit 54fb96d2b): a call that was told BUSY became another one on
// the wire while it was read. See also TestBusyDoesNotChangeTheCall.
func TestAdvisoryBusyChannelKeepsTheCallsApart(t *testing.T) {
	r := newRig(t, Config{})
	c := r.begin(CallParams{}, []byte("x"))
	d := r.begin(CallParams{}, []byte("y"))
	r.out()
	r.in(fromServer(c, wire.TypeBusy, 0))
	for _, p := range r.later(5 * time.Second) {
		switch string(p.body) {
		case "x":
			_, cid, call := c.ID()
			assert.Equal(t, []any{cid, call}, []any{p.CID, p.Call})
		case "y":
			_, cid, call := d.ID()
			assert.Equal(t, []any{cid, call}, []any{p.CID, p.Call})
		}
	}
	h := fromServer(c, wire.TypeData, 1)
	h.Flags |= last
	r.in(h, 'X')
	assert.Equal(t, "X", string(r.data(c)))
	assert.Empty(t, r.data(d))
}

// Hangs when a server restarts in mid-call (OpenAFS gerrit 13875, 13758, 13876).
func TestAdvisoryAServerThatRestartsIsNoticed(t *testing.T) {
	for size, most := range map[int]time.Duration{4: time.Second, 4_000_000: time.Second} {
		w := newWorld(t)
		client := w.add(clientAddr, Config{Epoch: clientEpoch}).client()
		_, served := w.add(serverAddr, Config{}).serve(ServiceParams{}, nil)
		c := client.call(CallParams{}, pattern(size))
		w.until(time.Second, func() bool { return len(*served) == 1 && len((*served)[0].got) >= size/4 })
		w.run(2 * time.Millisecond)
		start := w.now
		w.add(serverAddr, Config{Rand: newRand(77)}).serve(ServiceParams{}, nil)
		w.until(time.Minute, func() bool { return c.ended })
		assert.True(t, c.result.Failed())
		assert.Less(t, w.now.Sub(start), most, "%d bytes: %+v", size, c.result)
		again := client.call(CallParams{}, []byte("x"))
		w.hosts[serverAddr].serve(ServiceParams{IDs: []wire.ServiceID{1}, Accept: AcceptAuto}, echo)
		w.until(time.Second, func() bool { return again.ended })
		assert.Equal(t, Succeeded, again.result.Completion)
	}
}

// OpenAFS 1.8.7: connection ids around 0x80000002. An id is a number of 32 bits that means nothing.
func TestAdvisoryConnectionIDsAreOpaque(t *testing.T) {
	for _, cid := range []wire.CID{0, 4, 0x7ffffffc, 0x80000000, 0x80000004, 0xfffffffc} {
		r := newRig(t, Config{})
		r.auto()
		h := fromClient(wire.TypeData, 1, 1)
		h.CID = cid + 2
		h.Flags |= last | ask
		r.in(h, 'x')
		out := r.out()
		require.Len(t, out, 1)
		assert.Equal(t, h.CID, out[0].CID)

		r.cid = cid - 8
		c := r.begin(CallParams{Exclusive: true}, []byte("x"))
		d := r.begin(CallParams{Exclusive: true}, []byte("x"))
		_, one, _ := c.ID()
		_, two, _ := d.ID()
		assert.NotEqual(t, one, two)
		for _, c := range []*Call{c, d} {
			_, id, _ := c.ID()
			assert.NotZero(t, id, "0 is what packets of no connection have")
			h := fromServer(c, wire.TypeData, 1)
			h.Flags |= last
			r.out()
			r.in(h, 'y')
			assert.Equal(t, Succeeded, c.Result().Completion)
		}
	}
}

// Reflection: nothing that anybody can forge is answered by much more than itself, and not often.
func TestAdvisoryAmplification(t *testing.T) {
	type request struct {
		name string
		h    wire.Header
		body []byte
		most float64
	}
	tool := func(t wire.PacketType) wire.Header { return wire.ToolRequest(t, 1) }
	secured := fromClient(wire.TypeData, 1, 1)
	secured.Security = wire.SecurityRxKAD
	nowhere := fromClient(wire.TypeData, 1, 1)
	nowhere.Service = 9
	for _, q := range []request{
		{"VERSION", tool(wire.TypeVersion), []byte{0}, 93.0 / 29},
		{"DEBUG", tool(wire.TypeDebug), wire.DebugRequest{Type: wire.DebugGetRxStats}.Append(nil), 312.0 / 36},
		{"CHALLENGE", secured, []byte("x"), 40.0 / 29},
		{"ABORT", nowhere, nil, 32.0 / 28},
	} {
		t.Run(q.name, func(t *testing.T) {
			r := newRig(t, Config{Limits: Limits{RepliesPerSecond: 10}})
			r.listen(ServiceParams{Accept: AcceptAuto, Security: []ServerSecurity{&xorClass{key: 1}}})
			in, out := 0, 0
			first := 0
			for range 1000 {
				r.inFrom(clientAddr, q.h, q.body...)
				in += wire.HeaderSize + len(q.body)
				for _, p := range r.later(time.Millisecond) {
					out += wire.HeaderSize + len(p.body)
					if first == 0 {
						first = out
					}
				}
			}
			assert.NotZero(t, first)
			assert.LessOrEqual(t, float64(first)/float64(wire.HeaderSize+len(q.body)), q.most)
			if q.name != "CHALLENGE" { // after it there is a call, which acknowledges what comes
				assert.Less(t, out, in/4, "%d bytes for %d", out, in)
			}
		})
	}
}

// Linux counts its time-outs in jiffies that it takes for milliseconds; ours are seconds (TestNothingIsHeard). Its
// bundles leave out the service (TestACallSecuredByAnotherKeyHasItsOwnConnection). It never repeats
// a CHALLENGE (TestALostChallengeComesAgain, TestALostChallengeComesByTimer). CVE-2026-31642 and -23118 are lists and times that
// several threads touch at once: here one owner does (rxrpc.TestCloseAmidCalls, under the race detector). Old OpenAFS sends anything as userStatus (TestUpgrade).

func TestPeersOfBothFamilies(t *testing.T) {
	six := netip.MustParseAddrPort("[2001:db8::2]:7000")
	w := newWorld(t)
	client := w.add(netip.MustParseAddrPort("[2001:db8::1]:7001"), Config{}).client()
	server := w.add(six, Config{})
	server.serve(ServiceParams{}, echo)
	c := client.call(CallParams{Peer: six}, pattern(100_000))
	w.until(time.Second, func() bool { return c.ended })
	assert.True(t, bytes.Equal(pattern(100_000), c.got))
	assert.Equal(t, 1500-48-28, 1500-overhead(six)-28)
}
