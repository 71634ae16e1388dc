package sim

import (
	"bytes"
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A host drives an endpoint as an engine would.
type host struct {
	*run
	id      int
	ep      *proto.Endpoint // nil: down
	life    int
	binding int        // of its NAT
	cut     proto.Time // cut off until then
	wakeAt  proto.Time // when an evWake is under way, 0 none
	buf     []byte
	copy    []byte
	spin    int
	sent    int
	answer  *head // the ABORT that was received just now

	calls    map[*proto.Call]*half // that the application holds
	services map[uint16]*proto.Service
}

func newHost(r *run, id int) *host {
	h := &host{run: r, id: id, buf: make([]byte, proto.MaxDatagram)}
	return h
}

func (h *host) outside() netip.AddrPort { return h.net.address(h.id, h.binding) }

// start makes an endpoint with its services.
func (h *host) start() {
	h.life++
	spec := &h.sc.Hosts[h.id]
	cfg := proto.Config{
		Rand:    newRNG(h.sc.Seed, uint64(1000+h.id*50+h.life)),
		Windows: proto.Windows{Receive: spec.Receive, Send: spec.Send},
		MTU: proto.MTU{
			Interface: spec.Interface, Start: spec.Start, JumboMax: spec.JumboMax, NoJumbo: spec.NoJumbo, NoProbe: spec.NoProbe || spec.Old.Words > 0,
		},
		Hooks: &proto.Hooks{},
	}
	if spec.Tight {
		cfg.Limits = proto.Limits{
			ServiceCalls: 6, CallsPerHost: 4, ServiceConns: 20, ConnsPerHost: 12, ConnsPerBundle: 1, Peers: 8, HeldBytes: 8000, Replies: 4,
			RepliesPerSecond: 5, RepliesInAll: 20,
		}
	}
	if h.trace.on() {
		cfg.Hooks.Dropped = func(now proto.Time, peer netip.AddrPort, _ wire.Header, why string) {
			h.trace.line(now, "     host %d drops: %s", h.id, why)
		}
		cfg.Hooks.Lost = func(now proto.Time, _ *proto.Call, seq wire.Seq, timeout bool) {
			h.trace.line(now, "     host %d gives up seq %d, timeout %v", h.id, seq, timeout)
		}
		cfg.Hooks.CallEnded = func(now proto.Time, c *proto.Call, r proto.Result) {
			h.trace.line(now, "     host %d: call %s ends: %+v", h.id, callName(c), r)
		}
	}
	h.ep = proto.New(cfg, h.clock.now)
	h.calls, h.services = map[*proto.Call]*half{}, map[uint16]*proto.Service{}
	h.wakeAt = 0
	for _, s := range spec.Services {
		p := proto.ServiceParams{
			IDs: []wire.ServiceID{wire.ServiceID(s.ID)}, Accept: proto.Accept(s.Accept),
			Security: []proto.ServerSecurity{sealed{key: sealedKey}}, Secured: s.Sealed, Tag: h,
		}
		if s.Upgrade != 0 {
			p.IDs = append(p.IDs, wire.ServiceID(s.Upgrade))
			p.UpgradeFrom, p.UpgradeTo = wire.ServiceID(s.ID), wire.ServiceID(s.Upgrade)
		}
		svc, err := h.ep.Listen(h.clock.now, p)
		if err != nil {
			h.fail("listen", "%v", err)
			return
		}
		h.services[s.ID] = svc
		if p.Accept == proto.AcceptCharge {
			for range 8 {
				if err := svc.Charge(chargeTag{}); err != nil {
					h.fail("charge", "%v", err)
				}
			}
		}
	}
	h.pump()
}

// refuse makes the services take no calls, or take them again.
func (h *host) refuse(refuse bool) {
	if h.ep == nil {
		return
	}
	for _, s := range h.sc.Hosts[h.id].Services {
		h.services[s.ID].Refuse(refuse)
	}
}

// stop loses all memory.
func (h *host) stop() {
	for _, x := range h.order {
		if x.host == h && x.life == h.life && !x.gone {
			x.gone = true
			if x.client {
				h.follow(x.index)
			}
		}
	}
	h.ep, h.calls = nil, nil
	h.check.Restarted(h.id)
}

// receive gives a datagram to the endpoint, which may neither change nor keep it.
func (h *host) receive(p *packet) {
	h.copy = append(h.copy[:0], p.b...)
	h.ep.Receive(h.clock.now, p.from, p.b)
	if !bytes.Equal(h.copy, p.b) {
		h.fail("borrowed", "the endpoint has written to a datagram")
	}
	for i := range p.b {
		p.b[i] = 0xa5
	}
	if len(h.copy) >= headerSize && h.copy[20] == 4 {
		in := parseHead(h.copy)
		h.answer = &in
		if h.opt.Break == BreakAnswer {
			h.emit(proto.Transmit{To: p.from}, h.copy)
		}
	}
	h.pump()
	h.answer = nil
}

// pump lets everything out that the endpoint has to say, as far as it goes.
func (h *host) pump() {
	if h.ep == nil {
		return
	}
	now := h.clock.now
	for round := 0; ; round++ {
		if round > 100_000 {
			h.fail("endless", "the endpoint always has more to say")
			return
		}
		n, to, ok := h.ep.Transmit(now, h.buf[:0])
		if ok {
			h.emit(to, h.buf[:n])
			continue
		}
		ev, ok := h.ep.Event()
		if !ok {
			break
		}
		h.event(ev)
		if h.ep == nil {
			return
		}
	}
	h.sleep()
}

func (h *host) emit(to proto.Transmit, b []byte) {
	if a := h.answer; a != nil && len(b) >= headerSize && b[20] == 4 {
		if out := parseHead(b); out.connKey == a.connKey && out.call == a.call && out.channel == a.channel {
			h.fail("abort of abort", "an ABORT is answered by one")
		}
	}
	h.sent++
	h.net.send(h, to.To, to.DF, b)
}

// sleep arranges for the endpoint to be woken.
func (h *host) sleep() {
	due, ok := h.ep.Deadline()
	if !ok {
		return
	}
	now := h.clock.now
	if due <= now {
		if h.spin++; h.spin > 10_000 {
			h.fail("spin", "the deadline is always now")
			return
		}
	} else {
		h.spin = 0
	}
	if h.wakeAt != 0 && h.wakeAt <= due {
		return
	}
	if h.sc.Slack > 0 {
		due += proto.Time(h.net.chance.int64n(int64(h.sc.Slack) + 1))
	}
	h.wakeAt = max(due, now)
	h.clock.add(event{at: h.wakeAt, kind: evWake, host: h})
}

func (h *host) wake() {
	if h.wakeAt != h.clock.now || h.ep == nil {
		return // another one has come before, or the host is another
	}
	h.wakeAt = 0
	if due, ok := h.ep.Deadline(); ok && due <= h.clock.now {
		h.ep.Tick(h.clock.now)
		h.pump()
		return
	}
	h.sleep()
}
