package natsbridge

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

const (
	ms       = int64(time.Millisecond)
	simLease = 15000 * ms
)

// sim is a site on paper: hosts with cores and models of hubs, a network that delays, loses and parts, a store.
// Everything that happens is an event with a time, and follows from the seed.
type sim struct {
	t     testing.TB
	rand  *rand.Rand
	now   int64
	queue events
	order uint64

	hosts []*simHost
	lag   map[[2]int]int64 // when the last packet from one to another arrives: they stay in order
	loss  float64          // of packets, after which nothing tells
	side  []int            // of each host; those on side 0 have the store
	keys  map[bucket]map[string]*simKey
	rev   uint64
	run   uint64
	ops   uint64 // on the store

	streams map[uint32]*simStream
	forgets bool                 // the store knows no names of messages
	patient bool                 // a hub that is refused does not ask again
	want    connector.History    // of the durable group
	denied  map[streamKind]error // what the store says to each operation of that kind
	tried   map[streamKind]int

	unlisted map[uint32]bool     // streams whose leaders do not answer to a list
	looks    func(*streamResult) // what streamLook answers instead
}

type simKey struct {
	value []byte
	rev   uint64
	until int64
}

type event struct {
	at    int64
	order uint64
	f     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// seeds are as many as there is time for: the race detector makes everything ten times slower.
func seeds(n uint64) uint64 {
	if raceEnabled {
		return max(1, n/6)
	}
	return n
}

func newSim(t testing.TB, seed uint64, hosts int) *sim {
	s := &sim{
		t: t, rand: rand.New(rand.NewPCG(seed, 7)), now: 1e18, lag: make(map[[2]int]int64), side: make([]int, hosts),
		keys: map[bucket]map[string]*simKey{bucketHosts: {}, bucketIDs: {}}, streams: make(map[uint32]*simStream),
		denied: make(map[streamKind]error), tried: make(map[streamKind]int),
	}
	for i := range hosts {
		h := &simHost{s: s, i: i, num: uint16(i + 1), members: make(map[uint32]bool), got: make(map[string][]uint64)}
		s.hosts = append(s.hosts, h)
	}
	return s
}

func (s *sim) at(d int64, f func()) {
	s.order++
	heap.Push(&s.queue, event{s.now + d, s.order, f})
}

// forward runs what happens in the next d.
func (s *sim) forward(d int64) {
	end := s.now + d
	for len(s.queue) > 0 && s.queue[0].at <= end {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.f()
	}
	s.now = end
}

func (s *sim) start() {
	for _, h := range s.hosts {
		h.start()
	}
	s.forward(1000 * ms)
}

// part puts hosts on sides that do not see each other.
func (s *sim) part(side ...int) {
	for i, h := range s.hosts {
		s.side[i] = side[i]
		if h.core != nil {
			h.core.setConnected(side[i] == 0)
		}
	}
}

func (s *sim) sees(a, b int) bool { return s.side[a] == s.side[b] }

// simHost is a host: a core, and a model of the hub around it that keeps the books.
type simHost struct {
	s    *sim
	i    int
	num  uint16
	core *core
	life int // of this run; what was set going in another is void
	tick int64

	// Unicast: messages of client 1 to client 1 of other hosts.
	sent, failed map[uint32]map[uint64]bool // by host
	next         map[uint32]uint64
	window       map[uint32]int
	slow         bool // inputs wait
	waiting      []func()
	inputs       []input

	// Groups.
	members   map[uint32]bool
	published map[uint32]uint64
	got       map[string][]uint64
	lost      map[uint32]uint64
	unknowns  map[uint32]int // times that nobody knew how many
	interest  map[uint32][]uint32
	done      map[uint32]int // MembersDone

	ids     map[cbid.ID]connector.IDInfo // of other hosts
	unknown map[cbid.ID]bool
	granted map[cbid.ID]string
	state   map[cbid.ID]connector.SiteState
	text    map[cbid.ID]string // of it
	gone    map[cbid.ID]int    // Unregistered
	down    []uint32
	soon    bool

	skew    int64 // of its clock
	lenient bool  // whatever is well-formed may come

	simDurable
}

// input is a message that came from another host's client.
type input struct {
	port uint32
	n    uint64
}

func (h *simHost) start() {
	s := h.s
	h.life++
	s.run++
	h.sent, h.failed = make(map[uint32]map[uint64]bool), make(map[uint32]map[uint64]bool)
	h.next, h.window = make(map[uint32]uint64), make(map[uint32]int)
	h.inputs, h.waiting = nil, nil
	h.published, h.lost, h.got = make(map[uint32]uint64), make(map[uint32]uint64), make(map[string][]uint64)
	h.unknowns = make(map[uint32]int)
	h.interest, h.done = make(map[uint32][]uint32), make(map[uint32]int)
	h.ids, h.unknown = make(map[cbid.ID]connector.IDInfo), make(map[cbid.ID]bool)
	h.text = make(map[cbid.ID]string)
	h.granted, h.state, h.gone = make(map[cbid.ID]string), make(map[cbid.ID]connector.SiteState), make(map[cbid.ID]int)
	h.members = make(map[uint32]bool)
	h.startDurable()
	h.down, h.tick, h.soon = nil, 0, false
	run, name := s.run, fmt.Sprintf("host%d", h.num)
	var rev uint64
	s.store(storeOp{kind: storeCreate, bucket: bucketHosts, key: leaseKey(h.num), value: leaseValue(h.num, run, name), then: func(r storeResult) {
		require.NoError(s.t, r.err)
		rev = r.rev
	}})
	require.NotZero(s.t, rev)
	h.core = newCore(coreConfig{
		host: h.num, name: name, run: run, first: uint64(s.now), lease: simLease,
		clock: func() int64 { return s.now }, log: slog.New(slog.DiscardHandler),
	}, h, h)
	h.core.leased(rev, s.now)
	h.core.connected = s.side[h.i] == 0
	h.core.tick()
}

// kill ends the host without a word.
func (h *simHost) kill() {
	h.core = nil
	h.life++
}

// then runs f later, if the host lives then.
func (h *simHost) then(d int64, f func()) {
	life := h.life
	h.s.at(d, func() {
		if h.life == life {
			f()
		}
	})
}

func (h *simHost) Wake(at int64) {
	h.tick = at
	h.then(max(0, at+h.skew-h.s.now), func() {
		if h.tick == at {
			h.core.tick()
		}
	})
}

// turn is what the hub does at the end of a turn.
func (h *simHost) turn() { h.core.Flush() }

// The wire.

func (h *simHost) Packet(to subject, b []byte) bool {
	s := h.s
	for i, other := range s.hosts {
		switch {
		case i == h.i, !s.sees(h.i, i), to.kind == packetLink && uint32(other.num) != to.num,
			to.kind == packetGroup && !other.members[to.num], s.rand.Float64() < s.loss:
			continue
		}
		pair := [2]int{h.i, i}
		at := max(s.now+1*ms+s.rand.Int64N(3*ms), s.lag[pair])
		s.lag[pair] = at
		copied := append([]byte(nil), b...)
		life := other.life
		s.at(at-s.now, func() {
			if other.life == life && other.core != nil && s.sees(h.i, i) {
				other.core.receive(to, copied)
				other.turn()
			}
		})
	}
	return true
}

func (h *simHost) Listen(group uint32, on bool) { h.members[group] = on }

func (h *simHost) Soon() {
	if h.soon {
		return
	}
	h.soon = true
	h.then(0, func() {
		h.soon = false
		h.core.runLater()
	})
}

func (h *simHost) Store(op storeOp) {
	then := op.then
	life := h.life
	op.then = func(r storeResult) {
		h.s.at(1*ms+h.s.rand.Int64N(4*ms), func() {
			if h.life == life {
				then(r)
				h.turn()
			}
		})
	}
	h.then(1*ms+h.s.rand.Int64N(4*ms), func() {
		if h.s.side[h.i] != 0 {
			op.then(storeResult{err: fmt.Errorf("no contact to the store")})
			return
		}
		if h.s.rand.Float64() < h.s.loss { // done, but nobody is told
			op.then = func(storeResult) {}
			h.s.store(op)
			h.then(100*ms, func() {
				then(storeResult{err: fmt.Errorf("no answer of the store")})
				h.turn()
			})
			return
		}
		h.s.store(op)
	})
}

// store is JetStream's key-value store as far as the core uses it.
func (s *sim) store(op storeOp) {
	s.ops++
	keys := s.keys[op.bucket]
	k := keys[op.key]
	if k != nil && k.until != 0 && k.until <= s.now {
		delete(keys, op.key)
		k = nil
	}
	r := storeResult{}
	switch {
	case op.kind == storeGet && k == nil:
		r.err = errStoreNotFound
	case op.kind == storeGet:
		r.value, r.rev = k.value, k.rev
	case op.kind == storeCreate && k != nil, op.kind != storeCreate && (k == nil || k.rev != op.rev):
		r.err = errStoreExists
	case op.kind == storeDelete:
		delete(keys, op.key)
	default:
		s.rev++
		k = &simKey{value: op.value, rev: s.rev}
		if op.bucket == bucketHosts {
			k.until = s.now + simLease
		}
		keys[op.key] = k
		r.rev = s.rev
	}
	op.then(r)
}

// The hub.

const simWindow = 64 << 10

func port(host uint32) uint32 { return connector.SitePort(host, 1) }

// message is frame n of this host's client to the client of host, or to group.
func message(host, group uint32, n uint64) []byte {
	data := binary.LittleEndian.AppendUint64(nil, n)
	m := connector.Message{ID: cbid.Make(1000, 1), Seq: uint32(n), Data: data}
	body, _ := m.AppendNetlink(nil, binary.NativeEndian, 0)
	hd := frame.Header{Type: frame.Send, Group: group}
	if group == 0 {
		hd.Port = port(host)
	}
	return hd.Append(nil, body...)
}

func numberOf(fr []byte) uint64 {
	return binary.LittleEndian.Uint64(fr[frame.HeaderLen+connector.HeaderLen:])
}

// send sends the next message to host, if the window has room.
func (h *simHost) send(host uint32) bool {
	if h.window[host] > simWindow {
		return false
	}
	h.next[host]++
	n := h.next[host]
	fr := message(host, 0, n)
	if h.sent[host] == nil {
		h.sent[host], h.failed[host] = make(map[uint64]bool), make(map[uint64]bool)
	}
	h.sent[host][n] = true
	h.window[host] += len(fr)
	h.core.Forward(host, port(uint32(h.num)), connector.Cred{UID: 1, GID: 2, PID: 3}, fr)
	return true
}

func (h *simHost) publish(group uint32) {
	h.published[group]++
	h.core.Publish(group, port(uint32(h.num)), connector.Cred{}, message(0, group, h.published[group]))
}

func (h *simHost) Input(p uint32, _ connector.Cred, _ string, fr []byte) error {
	if h.lenient {
		require.NoError(h.s.t, checkSend(fr))
		h.core.Consumed(connector.HostOf(p), p, len(fr))
		return nil
	}
	hd := frame.ParseHeader(fr)
	require.Equal(h.s.t, port(uint32(h.num)), hd.Port)
	n, size := numberOf(fr), len(fr)
	take := func() {
		h.inputs = append(h.inputs, input{p, n})
		h.core.Consumed(connector.HostOf(p), p, size)
	}
	if h.slow || len(h.waiting) > 0 {
		h.waiting = append(h.waiting, take)
		return nil
	}
	take()
	return nil
}

func (h *simHost) hurry() {
	h.slow = false
	for _, f := range h.waiting {
		f()
	}
	h.waiting = nil
	h.turn()
}

func (h *simHost) Remove(uint32) {}

func (h *simHost) Deliver(host, p uint32, fr []byte) error {
	if h.lenient {
		require.NoError(h.s.t, checkAnswer(fr))
		return nil
	}
	hd, body, err := frame.Parse(fr)
	require.NoError(h.s.t, err)
	require.Equal(h.s.t, port(uint32(h.num)), p)
	if host == storeHost {
		h.answered(&hd, body)
		return nil
	}
	require.Equal(h.s.t, frame.Fail, hd.Type)
	n := uint64(binary.NativeEndian.Uint32(body[24:]))
	require.True(h.s.t, h.sent[host][n])
	require.False(h.s.t, h.failed[host][n], "message %d to %d failed twice", n, host)
	h.failed[host][n] = true
	return nil
}

func (h *simHost) Group(p uint32, _ connector.Cred, fr []byte) error {
	if h.lenient {
		require.NoError(h.s.t, checkSend(fr))
		return nil
	}
	hd := frame.ParseHeader(fr)
	key := fmt.Sprint(connector.HostOf(p), "/", hd.Group)
	h.got[key] = append(h.got[key], numberOf(fr))
	return nil
}

func (h *simHost) GroupLost(group uint32, n uint64, unknown bool) {
	h.lost[group] += n
	if unknown {
		h.unknowns[group]++
	}
}

func (h *simHost) RemoteInterest(group uint32, hosts []uint32) { h.interest[group] = hosts }
func (h *simHost) MembersDone(group uint32)                    { h.done[group]++ }

// knows requires that the broker has the id, or has not. Testify would look at each one that there is.
func (h *simHost) knows(id cbid.ID, yes bool) {
	if _, ok := h.ids[id]; ok != yes {
		require.Equal(h.s.t, yes, ok, "the broker knows %v", id)
	}
}

func (h *simHost) IDAdded(info connector.IDInfo) error {
	h.knows(info.ID, false)
	h.ids[info.ID] = info
	return nil
}

func (h *simHost) IDRemoved(id cbid.ID) {
	h.knows(id, true)
	delete(h.ids, id)
	delete(h.unknown, id)
}

func (h *simHost) IDUnknown(id cbid.ID, yes bool) {
	h.knows(id, true)
	h.unknown[id] = yes
}

func (h *simHost) Granted(id cbid.ID, err *connector.Error, text string) {
	if h.granted[id] = "ok"; err != nil {
		h.granted[id] = err.Error() + ": " + text
		return
	}
	h.state[id] = connector.SiteInForce
}
func (h *simHost) Unregistered(id cbid.ID) { h.gone[id]++ }
func (h *simHost) State(id cbid.ID, state connector.SiteState, text string) {
	h.state[id], h.text[id] = state, text
}
func (h *simHost) Renewed()              {}
func (h *simHost) HostUp(uint32, string) {}
func (h *simHost) HostDown(host uint32, _ string) {
	h.down = append(h.down, host)
	h.window[host] = 0
}
func (h *simHost) Credit(host, _ uint32, n int) { h.window[host] -= n }

func (h *simHost) register(id cbid.ID, takeover bool) {
	h.core.Register(connector.IDInfo{ID: id, Name: "sim", Group: id.Idx, Port: port(uint32(h.num))}, takeover)
	h.turn()
}

// settle checks the books of unicast: what was sent is there once and in order, or reported. exact says that no
// host was given up, so that nothing may have been reported.
func (s *sim) settle(exact bool) {
	for _, a := range s.hosts {
		for host, sent := range a.sent {
			b := s.hosts[host-1]
			var last uint64
			got := make(map[uint64]bool)
			for _, in := range b.inputs {
				if connector.HostOf(in.port) != uint32(a.num) {
					continue
				}
				require.Greater(s.t, in.n, last, "host %d to %d: order", a.num, host)
				last = in.n
				got[in.n] = true
			}
			for n := range sent {
				if exact {
					require.True(s.t, got[n], "host %d to %d: message %d of %d is missing", a.num, host, n, len(sent))
				}
				require.True(s.t, got[n] || a.failed[host][n], "host %d to %d: message %d of %d is neither there nor reported", a.num, host, n, len(sent))
			}
			if exact {
				require.Empty(s.t, a.failed[host], "host %d to %d", a.num, host)
			}
			require.GreaterOrEqual(s.t, a.window[host], 0)
			require.Zero(s.t, a.window[host], "host %d to %d: credit is missing", a.num, host)
		}
	}
}

// traffic has every host send to every other, and publish, for d.
func (s *sim) traffic(d int64, groups ...uint32) {
	for end := s.now + d; s.now < end; s.forward(s.rand.Int64N(20 * ms)) {
		for _, h := range s.hosts {
			if h.core == nil {
				continue
			}
			for _, other := range s.hosts {
				for n := s.rand.IntN(4); n > 0 && other != h; n-- {
					h.send(uint32(other.num))
				}
			}
			for _, g := range groups {
				for n := s.rand.IntN(4); n > 0; n-- {
					h.publish(g)
				}
			}
			h.turn()
		}
	}
}

// TestUnicastIsExactWhileNobodyIsGivenUp: with loss, slow receivers and partitions shorter than a lease, everything
// arrives once and in order, and nothing is reported.
func TestUnicastIsExactWhileNobodyIsGivenUp(t *testing.T) {
	for seed := range seeds(30) {
		s := newSim(t, seed, 2+int(seed%4))
		s.start()
		s.loss = float64(seed%5) * 0.02
		s.traffic(2000 * ms)
		slow := s.hosts[s.rand.IntN(len(s.hosts))]
		slow.slow = true
		s.traffic(1000 * ms)
		side := make([]int, len(s.hosts))
		side[s.rand.IntN(len(side))] = 1
		s.part(side...)
		s.traffic(9000 * ms)
		s.part(make([]int, len(s.hosts))...)
		s.traffic(1000 * ms)
		slow.hurry()
		s.loss = 0
		s.forward(20000 * ms)
		s.settle(true)
		for _, h := range s.hosts {
			assert.Empty(t, h.down)
			assert.Zero(t, h.core.stats.Refused)
		}
	}
}

// TestWhatAHostDidNotTakeIsReported: hosts die, and are cut off for longer than a lease.
func TestWhatAHostDidNotTakeIsReported(t *testing.T) {
	for seed := range seeds(30) {
		s := newSim(t, 100+seed, 2+int(seed%4))
		s.start()
		s.traffic(1000 * ms)
		s.hosts[1].slow = seed%2 == 0
		s.traffic(500 * ms)
		side := make([]int, len(s.hosts))
		side[1] = 1
		s.part(side...)
		s.traffic(25000 * ms)
		s.part(make([]int, len(s.hosts))...)
		s.traffic(5000 * ms)
		s.hosts[1].hurry()
		s.forward(30000 * ms)
		s.settle(false)
		for _, h := range s.hosts {
			assert.NotEmpty(t, h.down, "host %d", h.num)
		}
	}
}

func TestGroupsCountWhatIsMissing(t *testing.T) {
	const g = 77
	for seed := range seeds(30) {
		s := newSim(t, 200+seed, 2+int(seed%4))
		s.start()
		listener := s.hosts[0]
		listener.core.Members(g, true)
		listener.turn()
		s.forward(1000 * ms)
		require.Equal(t, 1, listener.done[g])
		for _, h := range s.hosts[1:] {
			require.Equal(t, []uint32{1}, h.interest[g])
		}
		s.loss = 0.1
		s.traffic(2000*ms, g)
		side := make([]int, len(s.hosts))
		side[1] = 1
		s.part(side...)
		s.traffic(3000*ms, g)
		s.part(make([]int, len(s.hosts))...)
		s.traffic(500*ms, g)
		s.loss = 0.5
		s.traffic(50*ms, g)
		s.loss = 0
		s.forward(10000 * ms) // the tails come with the next beacons
		var published, got uint64
		for _, h := range s.hosts[1:] {
			published += h.published[g]
			var last uint64
			for _, n := range listener.got[fmt.Sprint(h.num, "/", g)] {
				require.Greater(t, n, last)
				last = n
				got++
			}
		}
		require.NotZero(t, listener.lost[g])
		assert.Equal(t, published, got+listener.lost[g], "published = delivered + told as lost")
		listener.core.Members(g, false)
		listener.turn()
		s.forward(1000 * ms)
		require.Equal(t, 2, listener.done[g])
		assert.Empty(t, s.hosts[1].interest[g])
	}
}

// TestABeaconDoesNotOvertake: the number of the next message does not arrive before the message before it.
func TestABeaconDoesNotOvertake(t *testing.T) {
	const g = 77
	s := newSim(t, 1, 2)
	s.start()
	to, from := s.hosts[0], s.hosts[1]
	to.core.Members(g, true)
	to.turn()
	s.forward(1000 * ms)
	for range 20 {
		from.publish(g)
		from.core.beacon(false) // the turn has not ended yet
		from.turn()
		s.forward(100 * ms)
	}
	assert.Zero(t, to.lost[g])
	assert.Zero(t, to.core.stats.Late)
	assert.Len(t, to.got[fmt.Sprint(from.num, "/", g)], 20)
}
