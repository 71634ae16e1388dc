package natsbridge

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// stranger makes packets of a host that does as it likes.
type stranger struct {
	h       packetHeader
	session uint64
}

func (x *stranger) link(seq uint64, records ...[]byte) []byte {
	h := x.h
	h.kind, h.session, h.seq = packetLink, x.session, seq
	b := make([]byte, packetHeaderLen)
	h.put(b)
	for _, r := range records {
		b = append(b, r...)
	}
	return b
}

func hello() []byte { return append(appendHello(nil, "mallory"), appendLease(nil, true)...) }

// TestForeignTrafficHarmsNobody: two hosts talk while a third party publishes all that it can think of; every
// kind of it is counted by its reason.
func TestForeignTrafficHarmsNobody(t *testing.T) {
	s := newSim(t, 9, 2)
	s.start()
	a := s.hosts[0]
	id := cbid.Make(0x200, 1)
	s.hosts[1].register(id, false)
	s.forward(2000 * ms)
	r := rand.New(rand.NewPCG(1, 2))
	to := subject{packetLink, 1}
	x := stranger{h: packetHeader{host: 3, run: 99}, session: 1}
	lie := func(records ...[]byte) {
		x.session++
		a.core.receive(to, x.link(1, append([][]byte{hello()}, records...)...))
	}
	refused := func(want error, f func()) {
		t.Helper()
		before := uint64(0)
		if r := a.core.refused[want.Error()]; r != nil {
			before = r.n
		}
		f()
		require.NotNil(t, a.core.refused[want.Error()], "%v: %v", want, a.core.refused)
		require.Greater(t, a.core.refused[want.Error()].n, before, "%v", want)
	}
	cred := connector.Cred{}
	garbage := make([]byte, 300)
	for i := range garbage {
		garbage[i] = byte(r.Uint32())
	}
	refused(errMagic, func() { a.core.receive(to, garbage) })
	refused(errShortPacket, func() { a.core.receive(to, make([]byte, maxPacket+1)) })
	refused(errType, func() { a.core.receive(subject{kind: packetBeacon}, x.link(1)) })
	refused(errHost, func() {
		own := stranger{h: packetHeader{host: 1, run: 77}}
		a.core.receive(to, own.link(1, hello())) // a second host with our number
	})
	refused(errRecord, func() { lie([]byte{1, 2, 3}) })
	refused(errRecord, func() { lie(appendHello(nil, "a\x1b[31m")) })
	refused(errPort, func() { lie(appendSend(nil, port(2), cred, message(1, 0, 1))) }) // in host 2's name
	refused(errPort, func() { lie(appendSend(nil, port(0), cred, message(1, 0, 1))) })
	refused(errPort, func() { lie(appendLeft(nil, port(2))) })
	refused(errPort, func() {
		lie(appendRegistered(nil, &connector.IDInfo{ID: id, Port: port(2)}, 1<<60))
	})
	refused(errPort, func() {
		lie(appendRegistered(nil, &connector.IDInfo{ID: cbid.Control, Port: port(3)}, 1<<60))
	})
	refused(errPort, func() { lie(appendAnswer(nil, port(2), frame.Header{Type: frame.Go}.Append(nil))) })
	refused(errRecord, func() { lie(appendMembers(nil, 0, true)) })
	short := message(1, 0, 1)
	refused(errFrame, func() { lie(appendSend(nil, port(3), cred, short[:len(short)-1])) })
	for _, ty := range []frame.Type{0, frame.Hello, frame.Add, frame.Msg, frame.Bye, frame.Change, 255} {
		refused(errFrame, func() { lie(appendSend(nil, port(3), cred, frame.Header{Type: ty}.Append(nil))) })
		refused(errFrame, func() { lie(appendAnswer(nil, port(1), frame.Header{Type: ty}.Append(nil))) })
	}
	big := frame.Header{Type: frame.Send}.Append(nil, make([]byte, frame.MaxBody+1)...)
	refused(errFrame, func() { lie(appendSend(nil, port(3), cred, big)) })
	for _, idx := range []uint32{cbid.ProcSiteIdx, cbid.RxRPCSiteIdx, cbid.TSocketSiteIdx} {
		theirs := cbid.Make(idx, 2)
		refused(errAgents, func() { lie(appendRegistered(nil, &connector.IDInfo{ID: theirs, Port: port(3)}, 1<<60)) })
		assert.NotContains(t, a.ids, theirs)
		a.register(theirs, true)
		s.forward(100 * ms)
		assert.Contains(t, a.granted[theirs], "it would pass for the agents of another")
		a.register(cbid.Make(idx, 1), false)
	}
	// An id that is somebody else's, under an older revision, changes nothing.
	lie(appendRegistered(nil, &connector.IDInfo{ID: id, Port: port(3)}, 0))
	assert.Equal(t, uint32(2), connector.HostOf(a.ids[id].Port))
	// Acknowledgements of what was never sent, and packets far ahead.
	x.session++
	for _, seq := range []uint64{1 << 63, 0, 1<<64 - 1} {
		b := x.link(seq, hello())
		le.PutUint64(b[40:], 1<<63)
		a.core.receive(to, b)
	}
	s.traffic(500 * ms)
	s.forward(2 * simLease)
	s.settle(true)
	assert.Equal(t, "ok", a.granted[cbid.Make(cbid.RxRPCSiteIdx, 1)])
	assert.NotContains(t, a.core.peers, uint16(3), "the stranger is forgotten after a lease")
	assert.Equal(t, uint32(2), connector.HostOf(a.ids[id].Port))
}

// TestClocksPlayNoPart: a host whose clock is an hour off is a host like others; its links began in another time.
func TestClocksPlayNoPart(t *testing.T) {
	s := newSim(t, 10, 2)
	for i, h := range s.hosts {
		h.start()
		skew := int64(i) * 3600e9
		h.core.clock = func() int64 { return s.now - skew }
		h.core.session -= uint64(skew)
		h.core.now -= skew
		h.core.lease.until -= skew
		h.core.lease.renewAt -= skew
		h.core.wakeAt -= skew
		h.skew = skew
		h.core.tick()
	}
	s.forward(1000 * ms)
	id := cbid.Make(0x200, 1)
	s.hosts[1].register(id, false)
	s.traffic(1000 * ms)
	s.forward(3 * simLease)
	s.settle(true)
	s.owners([]cbid.ID{id})
	assert.Equal(t, "ok", s.hosts[1].granted[id])
}

func FuzzReceive(f *testing.F) {
	x := stranger{h: packetHeader{host: 3, run: 99}, session: 5}
	info := connector.IDInfo{ID: cbid.Make(5, 6), Name: "x", Port: port(3)}
	all := [][]byte{
		hello(), appendDurable(nil, 9, connector.History{Messages: 5, Durable: true}), appendMembers(nil, 7, true), appendTail(nil, 7, 0, 9), appendRegistered(nil, &info, 4), appendSend(nil, port(3), connector.Cred{}, message(1, 0, 1)),
		appendAnswer(nil, port(1), frame.Header{Type: frame.Lost, Pos: 3}.Append(nil)), appendConsumed(nil, port(1), 9), appendLeft(nil, port(3)),
		appendNoID(nil, info.ID, 4), appendPing(nil, recordPing, 1), appendPing(nil, recordPong, 1),
	}
	f.Add(uint8(packetLink), x.link(1, all...))
	group := x.h
	group.kind, group.seq = packetGroup, 1
	b := make([]byte, packetHeaderLen)
	group.put(b)
	f.Add(uint8(packetGroup), appendSend(b, port(3), connector.Cred{}, message(0, 7, 1)))
	b = make([]byte, packetHeaderLen)
	group.kind, group.seq = packetBeacon, 0
	group.put(b)
	f.Add(uint8(packetBeacon), append(append(b, hello()...), appendTail(nil, 7, 0, 3)...))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		s := newSim(t, 1, 1)
		s.start()
		h := s.hosts[0]
		h.core.log = slog.New(slog.DiscardHandler)
		h.core.Members(7, true)
		h.lenient = true
		to := subject{packetType(kind), 1}
		if to.kind == packetGroup {
			to.num = 7
		}
		h.core.receive(to, append([]byte(nil), b...))
		h.turn()
		h.core.receive(to, append([]byte(nil), b...))
		h.turn()
		s.forward(2 * simLease)
		require.LessOrEqual(t, len(h.core.peers), 1, fmt.Sprint(h.core.refused))
		require.Empty(t, h.ids, "what a host that is gone had is gone")
		_, _ = parseNamed(b)
		_, _ = parseOwner(b)
	})
}
