package sim

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// FuzzEndpoint runs two endpoints, a client and a server, in virtual time. The input is a program:
// what the applications do, which datagrams arrive, in which order, changed how, and what
// somebody on the way makes up, who knows the ids in use. Nothing of that may cause a panic,
// a datagram that breaks the rules, a burst without end, or a state that does not end by
// itself when the world falls silent.
func FuzzEndpoint(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 5, 4, 0, 4, 0, 2, 1, 0, 4, 0, 4, 0})
	f.Add([]byte{0, 1, 1, 0, 9, 4, 0, 9, 0, 3, 1, 10, 2, 0, 1, 2, 3, 12, 200, 13, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 2048 {
			return
		}
		z := newFuzzer(t, in)
		for len(z.in) > 0 {
			z.step()
		}
		z.silence()
	})
}

type fuzzPacket struct {
	b    []byte
	from netip.AddrPort
	to   int
}

type fuzzer struct {
	t     *testing.T
	in    []byte
	now   proto.Time
	eps   [2]*proto.Endpoint
	calls [2][]*proto.Call
	svcs  []*proto.Service
	wire  []fuzzPacket // under way
	heard [][]byte     // the last datagrams that were sent
	check *Checker
	given int // datagrams and calls made up
	buf   []byte
	mute  bool // nothing arrives any more
}

var fuzzAddrs = [...]netip.AddrPort{
	netip.MustParseAddrPort("10.0.0.1:7001"), netip.MustParseAddrPort("10.0.0.2:7000"),
	netip.MustParseAddrPort("10.0.0.1:7002"), netip.MustParseAddrPort("203.0.113.9:53"),
	netip.MustParseAddrPort("[fd00::1]:7001"), netip.MustParseAddrPort("224.0.0.1:7001"), netip.MustParseAddrPort("10.0.0.9:0"),
}

func newFuzzer(t *testing.T, in []byte) *fuzzer {
	z := &fuzzer{t: t, in: in, now: 1e9, buf: make([]byte, proto.MaxDatagram)}
	z.check = newChecker(2, func(rule, what string, b []byte) {
		if rule == "epoch" || rule == "service" && b[26] == 0 && b[27] == 0 {
			return // answers echo what was made up
		}
		t.Fatalf("%s: %s: %s", rule, what, describe(b))
	})
	z.check.Stateless = true
	mode := z.byte()
	for i := range z.eps {
		cfg := proto.Config{Rand: newRNG(1, uint64(i)), MTU: proto.MTU{Interface: []int{0, 9000}[mode&1], NoJumbo: mode&2 != 0}}
		if mode&4 != 0 {
			cfg.Windows.Receive, cfg.Windows.Send = 3, 4
		}
		if mode&8 != 0 {
			cfg.Limits = proto.Limits{ClientCalls: 6, ServiceCalls: 4, ServiceConns: 3, ConnsPerBundle: 1, Peers: 3, Replies: 4, CallsPerHost: 4, ConnsPerHost: 2}
		}
		z.eps[i] = proto.New(cfg, z.now)
	}
	for i, id := range []wire.ServiceID{plainService, chargedService, manualService} {
		p := proto.ServiceParams{
			IDs: []wire.ServiceID{id}, Accept: []proto.Accept{proto.AcceptAuto, proto.AcceptCharge, proto.AcceptManual}[i],
			Security: []proto.ServerSecurity{sealed{key: sealedKey}},
		}
		if i == 0 {
			p.IDs = append(p.IDs, betterService)
			p.UpgradeFrom, p.UpgradeTo = plainService, betterService
		}
		s, err := z.eps[1].Listen(z.now, p)
		require.NoError(t, err)
		z.svcs = append(z.svcs, s)
	}
	return z
}

func (z *fuzzer) byte() byte {
	if len(z.in) == 0 {
		return 0
	}
	v := z.in[0]
	z.in = z.in[1:]
	return v
}

func (z *fuzzer) pick(n int) int {
	if n <= 1 {
		return 0
	}
	return int(z.byte()) % n
}

// drain takes out all that both endpoints have to say.
func (z *fuzzer) drain() {
	for i, e := range z.eps {
		for n := 0; ; n++ {
			require.Less(z.t, n, 5000, "an endpoint that always has something to say")
			size, to, ok := e.Transmit(z.now, z.buf[:0])
			if ok {
				b := z.buf[:size]
				z.check.Sent(i, 1-i, b)
				require.True(z.t, to.To.IsValid() && to.To.Port() != 0 && !to.To.Addr().IsMulticast(), "sent to %v", to.To)
				if z.mute {
					continue
				}
				b = append([]byte(nil), b...)
				if len(b) < 3000 {
					z.heard = append(z.heard, b)
					z.heard = z.heard[max(0, len(z.heard)-16):]
				}
				z.wire = append(z.wire, fuzzPacket{b, fuzzAddrs[i], 1 - i})
				z.wire = z.wire[max(0, len(z.wire)-64):]
				continue
			}
			ev, ok := e.Event()
			if !ok {
				break
			}
			z.event(i, ev)
		}
		s := e.Stats()
		most := 60 + 2*z.given
		require.True(z.t, s.LiveCalls <= most && s.LiveClientConns <= most && s.LiveServiceConns <= most && s.LivePeers <= most, "%+v", s)
	}
}

func (z *fuzzer) event(i int, ev proto.Event) {
	c := ev.Call
	if ev.What.Has(proto.Arrived) {
		z.calls[i] = append(z.calls[i], c)
	}
	if ev.What.Has(proto.Ended) {
		require.NotEqual(z.t, proto.Running, c.Result().Completion)
		if c.Result().Completion == proto.Succeeded {
			z.read(c)
		}
		z.release(i, c)
	}
}

func (z *fuzzer) read(c *proto.Call) {
	for n := 0; ; n++ {
		require.Less(z.t, n, 1000)
		b, _, ok := c.Take()
		if !ok {
			return
		}
		packets := b.Packets()
		b.Release()
		c.Consumed(z.now, packets)
	}
}

func (z *fuzzer) release(i int, c *proto.Call) {
	for k, x := range z.calls[i] {
		if x == c {
			z.calls[i] = append(z.calls[i][:k], z.calls[i][k+1:]...)
			c.Release(z.now)
			return
		}
	}
	z.t.Fatal("an event of a call that was released")
}

// call picks one that the application holds.
func (z *fuzzer) call() (int, *proto.Call) {
	i := z.pick(2)
	if len(z.calls[i]) == 0 {
		i = 1 - i
	}
	if len(z.calls[i]) == 0 {
		return 0, nil
	}
	return i, z.calls[i][z.pick(len(z.calls[i]))]
}

func (z *fuzzer) step() {
	switch op := z.byte() % 20; op {
	case 0:
		z.newCall()
	case 1, 2, 3, 16:
		z.application(op)
	case 4, 5, 6, 7, 8, 9, 17, 18:
		z.network(op)
	case 10, 19:
		z.deliver(z.pick(2), fuzzAddrs[z.sender()], z.craft())
	case 11:
		n := min(z.pick(256), len(z.in))
		b := append([]byte(nil), z.in[:n]...)
		z.in = z.in[n:]
		z.deliver(z.pick(2), fuzzAddrs[z.sender()], b)
	case 12:
		z.now += proto.Time(z.byte()) * proto.Time(time.Millisecond)
		z.tick()
	case 13:
		z.skip()
	case 14:
		z.netError()
	case 15:
		z.service()
	}
	z.drain()
}

// sender is mostly one of the two hosts.
func (z *fuzzer) sender() int {
	if v := z.byte(); v < 200 {
		return int(v) % 2
	}
	return z.pick(len(fuzzAddrs))
}

func (z *fuzzer) newCall() {
	v := z.byte()
	p := proto.CallParams{
		Peer: fuzzAddrs[1], Service: []wire.ServiceID{plainService, chargedService, manualService, 9}[v&3],
		Exclusive: v&4 != 0, Upgrade: v&8 != 0,
	}
	if v&16 != 0 {
		p.Security = sealed{key: sealedKey + uint32(v>>7)}
	}
	if v&32 != 0 {
		p.Timeouts.Hard = time.Duration(z.byte()) * 10 * time.Millisecond
	}
	if v&64 != 0 {
		p.TxLength, p.HasTxLength = int64(z.byte())*100, true
	}
	c, err := z.eps[0].NewCall(z.now, &p)
	z.given++
	if err == nil {
		z.calls[0] = append(z.calls[0], c)
	}
}

func (z *fuzzer) application(op byte) {
	i, c := z.call()
	if c == nil {
		return
	}
	v := z.byte()
	switch op {
	case 1, 16:
		n := []int{0, 1, 100, 1172, 1412, 5000, 50_000, 400_000}[v&7]
		data := make([]byte, n)
		if sent, err := c.Send(z.now, data, v&8 != 0); err == nil {
			require.LessOrEqual(z.t, sent, n)
		}
	case 2:
		z.read(c)
	case 3:
		switch v & 7 {
		case 0:
			c.Abort(z.now, wire.AbortCode(v))
		case 1:
			z.release(i, c)
		case 2, 3:
			_ = c.Accept(z.now, c)
		case 4:
			if c.Reject(z.now, wire.AbortCode(v>>4)) == nil {
				for k, x := range z.calls[i] {
					if x == c {
						z.calls[i] = append(z.calls[i][:k], z.calls[i][k+1:]...)
						break
					}
				}
			}
		case 5:
			c.SetTimeouts(z.now, proto.Timeouts{Hard: time.Duration(v) * time.Millisecond})
		case 6:
			_ = c.SetTxLength(int64(v))
		}
	}
}

// network delivers, loses, repeats or changes what is under way.
func (z *fuzzer) network(op byte) {
	if len(z.wire) == 0 {
		return
	}
	k := z.pick(len(z.wire))
	if op >= 17 {
		k = 0
	}
	p := z.wire[k]
	if op != 8 {
		z.wire = append(z.wire[:k], z.wire[k+1:]...)
	}
	switch op {
	case 7:
		return
	case 9:
		p.b = z.change(append([]byte(nil), p.b...))
	}
	z.deliver(p.to, p.from, p.b)
}

func (z *fuzzer) deliver(to int, from netip.AddrPort, b []byte) {
	z.given++
	z.eps[to].Receive(z.now, from, b)
}

// change alters a field of a datagram.
func (z *fuzzer) change(b []byte) []byte {
	if len(b) < headerSize {
		return append(b, z.byte())
	}
	be := binary.BigEndian
	v := uint32(int8(z.byte()))
	add := func(at int) {
		if at+4 <= len(b) {
			be.PutUint32(b[at:], be.Uint32(b[at:])+v)
		}
	}
	switch f := z.byte() % 20; f {
	case 0, 1, 2, 3, 4: // epoch, cid, call, seq, serial
		add(int(f) * 4)
	case 5, 6, 7, 8:
		b[20+f-5] ^= byte(v) // type, flags, status, security
	case 9:
		b[21] ^= 1 << (v & 7)
	case 10:
		b[20] = byte(v) & 15
	case 11:
		be.PutUint16(b[26:], uint16(v))
	case 12, 13, 14: // first, previous, serial of an ACK
		add(headerSize + 4*int(f-11))
	case 15: // reason, count
		if len(b) > headerSize+17 {
			b[headerSize+16+int(v&1)] = z.byte()
		}
	case 16: // trailer
		if n := len(b); n >= headerSize+ackSize+19 {
			copy(b[n-16+4*int(v&3):], []byte{z.byte(), z.byte(), z.byte(), z.byte()})
		}
	case 17:
		b = b[:len(b)-min(int(v&0xff), len(b))]
	case 18:
		b = append(b, make([]byte, v&0xff)...)
	case 19:
		b[int(z.byte())*int(v&7+1)%len(b)] = byte(v)
	}
	return b
}

// craft makes a packet up, of a call that somebody has heard of.
func (z *fuzzer) craft() []byte {
	h := wire.Header{Epoch: 0x80000001, CID: 4, Call: 1, Service: plainService}
	if len(z.heard) > 0 {
		h, _, _ = wire.ParseHeader(z.heard[z.pick(len(z.heard))])
	}
	v := z.byte()
	h.Type = []wire.PacketType{1, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 13, 9, 14, 2, 1}[v&15]
	h.Flags = wire.Flags(z.byte()) & 0x27
	h.Serial += wire.Serial(int8(z.byte()))
	if v&16 != 0 {
		h.Call += wire.CallNumber(int8(z.byte()))
	}
	if v&32 != 0 {
		h.CID ^= wire.CID(z.byte() & 7)
	}
	if v&64 != 0 {
		h.Call = 0
	}
	h.Seq = 0
	switch h.Type {
	case wire.TypeData:
		h.Seq = wire.Seq(z.byte())
		body := make([]byte, []int{0, 1, 100, 1412, 1444, 1416, 2828, 9000}[z.pick(8)])
		for at := wire.JumboData; at < len(body); at += wire.JumboData + wire.JumboHeaderSize {
			body[at] = z.byte() & 0x27
		}
		return append(h.Append(nil), body...)
	case wire.TypeAck:
		a := wire.Ack{First: wire.Seq(z.byte()), Previous: wire.Seq(z.byte()), Serial: h.Serial + wire.Serial(int8(z.byte())), Reason: wire.AckReason(z.byte() % 12)}
		a.Acks = make([]byte, z.byte())
		fill := z.byte()
		for i := range a.Acks {
			a.Acks[i] = fill >> (i & 7) & 1
		}
		a.Trailer = wire.AckTrailer{MaxMTU: uint32(z.byte()) << (z.byte() & 31), IfMTU: uint32(z.byte()) * 8, RWind: uint32(z.byte()), JumboMax: uint32(z.byte()), Words: z.pick(5)}
		return a.Append(h.Append(nil))
	case wire.TypeAbort:
		return wire.AppendAbort(h.Append(nil), wire.AbortCode(int8(z.byte())))
	}
	n := min(z.pick(64), len(z.in))
	b := append(h.Append(nil), z.in[:n]...)
	z.in = z.in[n:]
	return b
}

func (z *fuzzer) netError() {
	v := z.byte()
	ne := proto.NetError{
		To:    fuzzAddrs[z.pick(len(fuzzAddrs))],
		Errno: []syscall.Errno{syscall.EMSGSIZE, syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EPERM, 0}[int(v&15)%6],
		Local: v&16 != 0, MTU: int(z.byte()) * 40,
	}
	if len(z.heard) > 0 {
		q := z.heard[z.pick(len(z.heard))]
		ne.Quoted = q[:min(len(q), int(v))]
	}
	z.eps[z.pick(2)].NetError(z.now, ne)
}

func (z *fuzzer) service() {
	s := z.svcs[z.pick(len(z.svcs))]
	switch z.byte() % 12 {
	case 0, 1, 2, 3, 4:
		_ = s.Charge(chargeTag{})
	case 5:
		s.Uncharge(nil)
	case 6, 7:
		s.Refuse(z.byte()&1 == 0)
	case 8:
		s.Close(z.now, z.byte()&1 == 0)
	case 9:
		z.eps[z.pick(2)].Close(z.now)
	}
}

func (z *fuzzer) tick() {
	for _, e := range z.eps {
		if due, ok := e.Deadline(); ok && due <= z.now {
			e.Tick(z.now)
		}
	}
}

// skip goes to the next deadline, and reports whether there is one.
func (z *fuzzer) skip() bool {
	when, any := proto.Time(0), false
	for _, e := range z.eps {
		if due, ok := e.Deadline(); ok && (!any || due < when) {
			when, any = due, true
		}
	}
	z.now = max(z.now, when)
	z.tick()
	return any
}

// silence lets nothing arrive any more. All calls end, and nothing is left.
func (z *fuzzer) silence() {
	z.mute = true
	for _, c := range z.calls[0] {
		// A request that its application never begins or ends may take all time.
		if _, err := c.Send(z.now, nil, false); errors.Is(err, proto.ErrTooMuch) || errors.Is(err, proto.ErrFull) {
			c.Abort(z.now, clientAbort)
		}
	}
	z.drain()
	for n := 0; z.skip(); n++ {
		require.Less(z.t, n, 20_000, "it does not come to rest")
		z.drain()
	}
	for i, e := range z.eps {
		s := e.Stats()
		for _, c := range z.calls[i] {
			z.t.Logf("%s state %d result %+v room %d", callName(c), c.State(), c.Result(), c.Room())
		}
		require.Empty(z.t, z.calls[i], "calls of endpoint %d that never ended", i)
		require.Zero(z.t, s.LiveCalls+s.LiveClientConns+s.LiveServiceConns+s.LivePeers, "endpoint %d keeps something: %+v", i, s)
		require.True(z.t, e.Idle())
	}
}
