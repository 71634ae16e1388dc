package proto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A fuzzed world is a client and a server whose datagrams an attacker on the path delays, drops,
// repeats, changes and makes up, and whose applications do anything that they may do at any
// time. The input says what happens, byte by byte.
type fuzzed struct {
	t     *testing.T
	now   Time
	ends  [2]*fuzzedEnd
	input []byte
	buf   []byte
	quiet int
	pumps int
}

type fuzzedEnd struct {
	*Endpoint
	addr  netip.AddrPort
	inbox [][]byte // what the other has sent
	calls []*Call
	svc   *Service
}

func (f *fuzzed) byte() byte {
	if len(f.input) == 0 {
		return 0
	}
	b := f.input[0]
	f.input = f.input[1:]
	return b
}

func (f *fuzzed) bytes(n int) []byte {
	n = min(n, len(f.input))
	b := f.input[:n]
	f.input = f.input[n:]
	return b
}

func newFuzzed(t *testing.T, input []byte) *fuzzed {
	f := &fuzzed{t: t, now: Time(time.Hour), input: input, buf: make([]byte, MaxDatagram)}
	mode := f.byte()
	for i, addr := range []netip.AddrPort{clientAddr, serverAddr} {
		cfg := Config{
			Rand: newRand(byte(i + 1)), MTU: MTU{Interface: 1500},
			Limits:  Limits{ServiceConns: 12, ServiceCalls: 16, ConnsPerHost: 10, CallsPerHost: 14, ConnsPerBundle: 2, Peers: 8, HeldBytes: 8000, Replies: 16},
			Windows: Windows{Receive: 8, Queue: 16},
		}
		if mode&1 != 0 {
			cfg.MTU.Interface, cfg.Windows = 9000, Windows{}
		}
		if i == 0 {
			cfg.Epoch = clientEpoch
		}
		e := &fuzzedEnd{Endpoint: New(cfg, f.now), addr: addr}
		f.ends[i] = e
		p := ServiceParams{
			IDs: []wire.ServiceID{testService, 200}, UpgradeFrom: testService, UpgradeTo: 200,
			Security: []ServerSecurity{&xorClass{key: 3}}, Accept: Accept(mode >> 1 % 3), Backlog: 4,
		}
		var err error
		if e.svc, err = e.Listen(f.now, p); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// pump sends what there is to send, and takes the events.
func (f *fuzzed) pump() {
	for i, e := range f.ends {
		other := f.ends[1-i]
		for n := 0; ; n++ {
			if n > 3000 {
				f.t.Fatal("datagrams without an end")
			}
			n, to, ok := e.Transmit(f.now, f.buf)
			if !ok {
				break
			}
			if n < wire.HeaderSize || n > MaxDatagram || !to.To.IsValid() {
				f.t.Fatalf("%d bytes to %v", n, to.To)
			}
			if len(other.inbox) < 64 {
				other.inbox = append(other.inbox, bytes.Clone(f.buf[:n]))
			}
		}
		for n := 0; ; n++ {
			if n > 3000 {
				f.t.Fatal("events without an end")
			}
			ev, ok := e.Event()
			if !ok {
				break
			}
			if ev.What.Has(Arrived) {
				e.calls = append(e.calls, ev.Call)
			}
		}
		if f.pumps++; f.pumps%8 < 2 {
			e.check(f.t)
		}
	}
}

func (f *fuzzed) step() {
	op := f.byte()
	i := int(op >> 7)
	e, other := f.ends[i], f.ends[1-i]
	take := func() []byte {
		if len(e.inbox) == 0 {
			return nil
		}
		k := 0
		if op&0x40 != 0 {
			k = int(f.byte()) % len(e.inbox)
		}
		b := e.inbox[k]
		e.inbox = append(e.inbox[:k], e.inbox[k+1:]...)
		return b
	}
	pick := func() *Call {
		if len(e.calls) == 0 {
			return nil
		}
		return e.calls[int(f.byte())%len(e.calls)]
	}
	switch op & 0x3f % 16 {
	case 0, 1: // everything arrives
		for range 16 {
			if b := take(); b != nil {
				e.Receive(f.now, other.addr, b)
			}
		}
	case 2:
		if b := take(); b != nil {
			e.Receive(f.now, other.addr, b)
		}
	case 3:
		take()
	case 4: // twice
		if b := take(); b != nil {
			e.Receive(f.now, other.addr, b)
			e.inbox = append(e.inbox, b)
		}
	case 5: // damaged
		if b := take(); b != nil {
			for range f.byte()%4 + 1 {
				at := int(binary.BigEndian.Uint16(append(f.bytes(2), 0, 0))) % len(b)
				if f.byte()&1 == 0 {
					at %= 64
				}
				b[at%len(b)] ^= f.byte()
			}
			if cut := int(f.byte()); cut < 64 {
				b = b[:min(cut, len(b))]
			}
			e.Receive(f.now, other.addr, b)
		}
	case 6, 7: // made up, with what an attacker on the path knows
		e.Receive(f.now, f.from(other), f.forge(e))
	case 8:
		f.pass(time.Duration(f.byte()) * time.Millisecond)
	case 9:
		f.pass(time.Duration(f.byte()) * time.Second)
	case 10, 11: // a call
		p := CallParams{Peer: other.addr, Service: testService, Tag: 1}
		b := f.byte()
		if b&1 != 0 {
			p.Security = &xorClass{key: 3 + b>>1&1}
		}
		p.Upgrade, p.Exclusive = b&4 != 0, b&8 != 0
		if b&16 != 0 {
			p.Timeouts.Hard = time.Second
		}
		if c, err := e.NewCall(f.now, &p); err == nil {
			e.calls = append(e.calls, c)
			_, _ = c.Send(f.now, make([]byte, int(b)*40), b&32 != 0)
		}
	case 12:
		if c := pick(); c != nil {
			_, _ = c.Send(f.now, make([]byte, int(f.byte())*300), f.byte()&1 != 0)
		}
	case 13:
		if c := pick(); c != nil {
			for n := f.byte() % 8; n > 0; n-- {
				b, _, ok := c.Take()
				if !ok {
					break
				}
				packets := b.Packets()
				b.Release()
				c.Consumed(f.now, packets)
			}
		}
	case 14:
		f.end(e, pick())
	case 15:
		f.manage(e, other)
	}
	f.pump()
}

// from is mostly the other end's address.
func (f *fuzzed) from(other *fuzzedEnd) netip.AddrPort {
	if b := f.byte(); b < 24 {
		return v4(int(b % 12))
	}
	return other.addr
}

func (f *fuzzed) end(e *fuzzedEnd, c *Call) {
	if c == nil {
		return
	}
	switch f.byte() % 5 {
	case 0:
		c.Abort(f.now, wire.AbortCode(f.byte()))
	case 1:
		_ = c.Accept(f.now, 1)
	case 2:
		if c.Reject(f.now, wire.AbortCode(f.byte()&1)) != nil {
			return
		}
		f.forget(e, c)
	default:
		c.Release(f.now)
		f.forget(e, c)
	}
}

func (f *fuzzed) forget(e *fuzzedEnd, c *Call) {
	for i := range e.calls {
		if e.calls[i] == c {
			e.calls = append(e.calls[:i], e.calls[i+1:]...)
			return
		}
	}
}

func (f *fuzzed) manage(e, other *fuzzedEnd) {
	switch f.byte() % 6 {
	case 0, 1, 2:
		_ = e.svc.Charge(1)
	case 3:
		e.svc.Refuse(f.byte()&1 != 0)
	case 4:
		e.svc.Uncharge(nil)
	case 5:
		ne := NetError{To: f.from(other), Errno: 111, Local: f.byte()&1 != 0, Quoted: f.bytes(8)}
		if f.byte()&1 != 0 {
			ne.Errno, ne.MTU, ne.Length = 90, int(f.byte())*100, int(f.byte())*100
		}
		e.NetError(f.now, ne)
	}
}

// forge makes a packet of a connection that e has, if it has any.
func (f *fuzzed) forge(e *fuzzedEnd) []byte {
	h := wire.Header{Epoch: clientEpoch, Service: testService, Flags: wire.Flags(f.byte()), Type: wire.PacketType(f.byte() % 14), Serial: wire.Serial(f.byte()), Call: wire.CallNumber(f.byte() % 4), Seq: wire.Seq(f.byte())}
	if len(e.allConns) > 0 {
		c := e.allConns[int(f.byte())%len(e.allConns)]
		h.Epoch, h.CID, h.Service, h.Security = c.id.Epoch, c.id.CID|wire.CID(f.byte()%4), c.service, c.index
		if ch := &c.channels[h.CID.Channel()]; h.Call != 0 {
			h.Call += ch.number - 1
		}
		if c.client {
			h.Flags &^= wire.ClientInitiated
		} else {
			h.Flags |= wire.ClientInitiated
		}
	}
	if f.byte() == 1 {
		h.UserStatus, h.Checksum = wire.UserStatus(f.byte()), wire.Checksum(f.byte())
	}
	b := h.Append(nil)
	switch f.byte() % 4 {
	case 0:
		return append(b, f.bytes(int(f.byte()))...)
	case 1:
		a := wire.Ack{
			First: wire.Seq(f.byte()), Previous: wire.Seq(f.byte()), Serial: wire.Serial(f.byte()), Reason: wire.AckReason(f.byte() % 12),
			Acks:    f.bytes(int(f.byte() % 16)),
			Trailer: wire.AckTrailer{MaxMTU: uint32(f.byte()) << 6, RWind: uint32(f.byte()), JumboMax: uint32(f.byte()), Words: int(f.byte() % 5)},
		}
		return a.Append(b)
	case 2:
		return append(b, make([]byte, int(f.byte())*64)...)
	}
	return append(b, 0, 0, 0, f.byte())
}

// pass lets time pass, and timers expire.
func (f *fuzzed) pass(d time.Duration) {
	end := f.now.Add(d)
	for n := 0; ; n++ {
		if n > 20000 {
			f.t.Fatal("timers that do nothing")
		}
		next := never
		for _, e := range f.ends {
			if at, ok := e.Deadline(); ok {
				next = min(next, at)
			}
		}
		if next > end {
			break
		}
		if next <= f.now {
			if f.quiet++; f.quiet > 1000 {
				f.t.Fatal("timers without an end")
			}
		} else {
			f.quiet = 0
		}
		f.now = max(f.now, next)
		for _, e := range f.ends {
			e.Tick(f.now)
		}
		f.pump()
	}
	f.now = end
}

func fuzzOnce(t *testing.T, input []byte) {
	f := newFuzzed(t, input[:min(len(input), 4096)])
	for len(f.input) > 0 {
		f.step()
	}
	// In the end everything goes.
	for _, e := range f.ends {
		for _, c := range e.calls {
			c.Release(f.now)
		}
		e.calls = nil
		e.svc.Close(f.now, true)
	}
	f.pass(time.Hour)
	for _, e := range f.ends {
		if e.stats.LiveCalls != 0 || len(e.allConns) != 0 || len(e.peers) != 0 || len(e.hosts) != 0 || len(e.bundles) != 0 || len(e.timers.items) != 0 {
			t.Fatalf("left: %d calls, %d connections, %d peers, %d hosts, %d bundles, %d timers",
				e.stats.LiveCalls, len(e.allConns), len(e.peers), len(e.hosts), len(e.bundles), len(e.timers.items))
		}
	}
}

func FuzzEndpoints(f *testing.F) {
	f.Add([]byte{2, 10, 1, 0, 128, 1, 129, 8, 50, 0, 128})
	f.Fuzz(fuzzOnce)
}
