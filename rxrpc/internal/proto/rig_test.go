package proto

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/require"
)

// A rig is one endpoint whose peers are the test: it writes packets and looks at those that
// come out.
type rig struct {
	*Endpoint
	t      testing.TB
	now    Time
	buf    []byte
	serial wire.Serial
	drops  []string
	what   map[*Call]What
	last   *Call // of the last event
	arrive []*Call
}

// A pkt is a packet that came out.
type pkt struct {
	wire.Header
	body []byte
	to   Transmit
}

func (p pkt) ack() wire.Ack {
	a, err := wire.ParseAck(p.body)
	if err != nil {
		panic(err)
	}
	return a
}

func (p pkt) code() wire.AbortCode {
	c, err := wire.ParseAbort(p.body)
	if err != nil {
		panic(err)
	}
	return c
}

// String is short: what tests compare.
func (p pkt) String() string {
	switch p.Type {
	case wire.TypeAbort:
		return fmt.Sprintf("ABORT %d call %d", p.code(), p.Call)
	case wire.TypeAck:
		a := p.ack()
		s := ""
		for _, v := range a.Acks {
			s += string("-+"[v])
		}
		return fmt.Sprintf("ACK %v call %d first %d prev %d for %d %s", a.Reason, p.Call, a.First, a.Previous, a.Serial, s)
	case wire.TypeData:
		return fmt.Sprintf("DATA call %d seq %d %v", p.Call, p.Seq, p.Flags)
	}
	return fmt.Sprintf("%v call %d", p.Type, p.Call)
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t, now: Time(time.Hour), buf: make([]byte, MaxDatagram), what: make(map[*Call]What)}
	if cfg.Rand == nil {
		cfg.Rand = newRand(9)
	}
	if cfg.Epoch == 0 {
		cfg.Epoch = clientEpoch
	}
	if cfg.Hooks == nil {
		cfg.Hooks = &Hooks{}
	}
	cfg.Hooks.Dropped = func(_ Time, _ netip.AddrPort, _ wire.Header, why string) { r.drops = append(r.drops, why) }
	r.Endpoint = New(cfg, r.now)
	return r
}

// listen opens a service that takes all calls.
func (r *rig) listen(p ServiceParams) *Service {
	if p.IDs == nil {
		p.IDs = []wire.ServiceID{testService}
	}
	s, err := r.Listen(r.now, p)
	require.NoError(r.t, err)
	return s
}

// auto is a service that takes all calls.
func (r *rig) auto() *Service { return r.listen(ServiceParams{Accept: AcceptAuto}) }

// fromClient is a header of the test as client.
func fromClient(t wire.PacketType, call wire.CallNumber, seq wire.Seq) wire.Header {
	return wire.Header{Epoch: 0x87654321, CID: 0x1000, Call: call, Seq: seq, Type: t, Flags: wire.ClientInitiated, Service: testService}
}

// reply is a header of the test as server of the call.
func fromServer(c *Call, t wire.PacketType, seq wire.Seq) wire.Header {
	epoch, cid, call := c.ID()
	return wire.Header{Epoch: epoch, CID: cid, Call: call, Seq: seq, Type: t, Service: c.Service()}
}

// in gives a packet from a client, or from the server.
func (r *rig) in(h wire.Header, body ...byte) {
	addr := serverAddr
	if h.FromClient() {
		addr = clientAddr
	}
	r.inFrom(addr, h, body...)
}

func (r *rig) inFrom(from netip.AddrPort, h wire.Header, body ...byte) {
	if h.Serial == 0 {
		r.serial++
		h.Serial = r.serial
	}
	r.Receive(r.now, from, append(h.Append(nil), body...))
	r.look()
}

// look takes the events.
func (r *rig) look() {
	for {
		ev, ok := r.Event()
		if !ok {
			return
		}
		r.what[ev.Call] |= ev.What
		r.last = ev.Call
		if ev.What.Has(Arrived) {
			r.arrive = append(r.arrive, ev.Call)
		}
	}
}

// out returns what comes out now.
func (r *rig) out() []pkt {
	var all []pkt
	for {
		n, to, ok := r.Transmit(r.now, r.buf)
		if !ok {
			r.look()
			return all
		}
		h, body, err := wire.ParseHeader(append([]byte(nil), r.buf[:n]...))
		require.NoError(r.t, err)
		all = append(all, pkt{h, body, to})
	}
}

// texts returns what comes out now, as text.
func (r *rig) texts() []string {
	s := []string{}
	for _, p := range r.out() {
		s = append(s, p.String())
	}
	return s
}

// later lets time pass, and returns what came out with when.
func (r *rig) later(d time.Duration) (all []pkt) {
	end := r.now.Add(d)
	all = r.out()
	for n := 0; ; n++ {
		require.Less(r.t, n, 100000, "timers without an end")
		at, ok := r.Deadline()
		if !ok || at > end {
			break
		}
		r.now = max(r.now, at)
		r.Tick(r.now)
		all = append(all, r.out()...)
	}
	r.now = end
	return all
}

// laterTexts is later, as text.
func (r *rig) laterTexts(d time.Duration) []string {
	s := []string{}
	for _, p := range r.later(d) {
		s = append(s, p.String())
	}
	return s
}

// begin makes a client call that sends data.
func (r *rig) begin(p CallParams, data []byte) *Call {
	if p.Peer == (netip.AddrPort{}) {
		p.Peer = serverAddr
	}
	if p.Service == 0 {
		p.Service = testService
	}
	c, err := r.NewCall(r.now, &p)
	require.NoError(r.t, err)
	_, err = c.Send(r.now, data, false)
	require.NoError(r.t, err)
	return c
}

// ack is the body of an ACK.
func ack(reason wire.AckReason, first, prev wire.Seq, serial wire.Serial, acks ...byte) []byte {
	a := wire.Ack{
		First: first, Previous: prev, Serial: serial, Reason: reason, Acks: acks,
		Trailer: wire.AckTrailer{MaxMTU: 1444, IfMTU: 1444, RWind: 32, JumboMax: 1, Words: 4},
	}
	return a.Append(nil)
}

// data takes everything of a call.
func (r *rig) data(c *Call) []byte {
	all := []byte{}
	for {
		b, _, ok := c.Take()
		if !ok {
			return all
		}
		all = append(all, b.Bytes()...)
		c.Consumed(r.now, b.Packets())
		b.Release()
	}
}
