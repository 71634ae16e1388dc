package natsbridge

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// simStream is a stream of JetStream, as far as the core uses it.
type simStream struct {
	epoch uint64
	first uint64
	msgs  []streamMsg
	ids   map[string]bool
	lastN map[uint16]uint64 // sequence of each host's last message
	want  connector.History
}

func (st *simStream) last() uint64 { return st.first + uint64(len(st.msgs)) - 1 }

func (st *simStream) from(seq uint64, n int) []streamMsg {
	at := min(uint64(len(st.msgs)), max(seq, st.first)-st.first)
	msgs := slices.Clone(st.msgs[at:min(uint64(len(st.msgs)), at+uint64(n))])
	for i := range msgs {
		msgs[i].data = slices.Clone(msgs[i].data) // the receiver may change it
	}
	return msgs
}

// stream does op.
func (s *sim) stream(host uint16, op *streamOp) (r streamResult) {
	s.tried[op.kind]++
	if err := s.denied[op.kind]; err != nil {
		return streamResult{err: err}
	}
	st := s.streams[op.group]
	switch op.kind {
	case streamLook:
		if st == nil {
			r.err = errStreamNone
			return r
		}
		r.epoch, r.first, r.last, r.batch = st.epoch, st.first, st.last(), 8
		if s.looks != nil {
			s.looks(&r)
		}
		return r
	case streamOpen, streamDefine:
		if st == nil {
			s.rev++
			st = &simStream{epoch: s.rev, first: 1, ids: make(map[string]bool), lastN: make(map[uint16]uint64), want: op.want}
			s.streams[op.group] = st
		}
		if op.kind == streamDefine {
			st.want = op.want
		}
		r.epoch, r.first, r.last, r.batch = st.epoch, st.first, st.last(), 8
		return r
	case streamDelete:
		delete(s.streams, op.group)
		return r
	case streamList:
		r.groups = make(map[uint32]connector.History)
		for g, st := range s.streams {
			if !s.unlisted[g] {
				r.groups[g] = st.want
			}
		}
		return r
	}
	if st == nil {
		r.err = errStreamNone
		return r
	}
	switch op.kind {
	case streamLast:
		r.first, r.last = st.first, st.last()
		if seq := st.lastN[host]; seq >= st.first {
			r.msgs = st.from(seq, 1)
		}
	case streamFetch:
		r.first, r.msgs = st.first, st.from(op.seq, 7)
	case streamAppend:
		for _, id := range op.ids {
			if st.ids[id] && !s.forgets {
				r.err = errStreamHas
				return r
			}
		}
		has := st.lastN[host]
		if has < st.first {
			has = 0
		}
		if op.seq != has || op.still && op.end != st.last() {
			r.err = errStreamBehind
			return r
		}
		for i, b := range op.batch {
			st.msgs = append(st.msgs, streamMsg{seq: st.last() + 1, host: host, data: slices.Clone(b)})
			st.ids[op.ids[i]] = true
			st.lastN[host] = st.last()
		}
		if drop := len(st.msgs) - st.want.Messages; drop > 0 {
			st.first += uint64(drop)
			st.msgs = st.msgs[drop:]
		}
		r.seq = st.last()
		for _, h := range s.hosts {
			h.pullSoon(op.group)
		}
	}
	return r
}

var errSimAway = errors.New("the store does not answer")

// Stream is the wire's. What goes wrong: nothing is done; it is done and nobody told; it is done long after that it was
// given up.
func (h *simHost) Stream(op streamOp) {
	s := h.s
	life := h.life
	answer := func(d int64, r streamResult) {
		s.at(d, func() {
			if h.life == life {
				op.then(r)
				h.turn()
			}
		})
	}
	s.at(1*ms+s.rand.Int64N(4*ms), func() {
		switch {
		case s.side[h.i] != 0:
			answer(100*ms, streamResult{err: errSimAway})
		case s.rand.Float64() >= s.loss:
			answer(1*ms+s.rand.Int64N(4*ms), s.stream(h.num, &op))
		case s.rand.IntN(3) == 0:
			answer(100*ms, streamResult{err: errSimAway})
		case s.rand.IntN(2) == 0:
			s.stream(h.num, &op)
			answer(100*ms, streamResult{err: errSimAway})
		default:
			late := op
			s.at(100*ms+s.rand.Int64N(4000*ms), func() { s.stream(h.num, &late) })
			answer(100*ms, streamResult{err: errSimAway})
		}
	})
}

func (h *simHost) Follow(group uint32, reader, seq uint64) {
	h.follows[group] = simReader{reader, seq}
	h.pullSoon(group)
}

func (h *simHost) pullSoon(group uint32) {
	reader := h.follows[group].reader
	if reader != 0 && h.core != nil {
		h.then(1*ms+h.s.rand.Int64N(4*ms), func() { h.pull(group, reader) })
	}
}

// pull is what a reader does: it misses nothing, whatever the network does.
func (h *simHost) pull(group uint32, reader uint64) {
	s := h.s
	f := h.follows[group]
	st := s.streams[group]
	if f.reader != reader || st == nil {
		return
	}
	if s.side[h.i] != 0 || s.rand.Float64() < s.loss {
		h.then(200*ms, func() { h.pull(group, reader) })
		return
	}
	msgs := st.from(f.next, 5)
	if len(msgs) == 0 {
		return
	}
	h.follows[group] = simReader{reader, msgs[len(msgs)-1].seq + 1}
	h.core.storedMsgs(group, reader, msgs)
	h.turn()
	h.pullSoon(group)
}

type simReader struct{ reader, next uint64 }

// simDurable is the hub's part of a host in durable groups: a receiver that keeps its place over the death of its
// broker, and what was sent.
type simDurable struct {
	follows     map[uint32]simReader
	place       simPlace // survives
	numSent     uint64   // survives: messages of this host
	acked       map[uint64]bool
	refused     map[uint64]bool
	tags        map[uint32]uint64
	tag         uint32
	fetches     int
	resets      int
	durable     map[uint32]connector.History
	defined     int
	definedTags []uint32
	ended       int
}

// simPlace is how far a receiver has got.
type simPlace struct {
	on    bool
	epoch uint64
	pos   uint64
	limit uint64          // what is read is from there on, what was before is fetched
	early []broker.Stored // read before what was fetched
	got   []simMsg        // in order
	seen  map[[2]uint64]bool
	lost  uint64
	twice int
}

type simMsg struct {
	host uint32
	n    uint64
}

const simGroup = 0x400

func (h *simHost) startDurable() {
	h.follows = make(map[uint32]simReader)
	h.tags = make(map[uint32]uint64)
	h.durable = make(map[uint32]connector.History)
	if h.acked == nil {
		h.acked, h.refused = make(map[uint64]bool), make(map[uint64]bool)
	}
	h.fetches = 0
	if h.place.on {
		h.then(0, func() {
			h.core.Locate(simGroup, simWant(h.s))
			h.turn()
		})
	}
}

func simWant(s *sim) connector.History { return s.want }

// keep sends the next message to the durable group.
func (h *simHost) keep() {
	if h.window[storeHost] > simWindow {
		return
	}
	h.numSent++
	h.tag++
	h.tags[h.tag] = h.numSent
	fr := message(0, simGroup, h.numSent)
	hd := frame.ParseHeader(fr)
	hd.Flags, hd.Tag = frame.FlagAck, h.tag
	hd.Put(fr)
	h.window[storeHost] += len(fr)
	h.core.Append(simGroup, simWant(h.s), port(uint32(h.num)), connector.Cred{}, fr)
}

func (h *simHost) answered(hd *frame.Header, _ []byte) {
	require.Equal(h.s.t, frame.Ack, hd.Type)
	n, ok := h.tags[hd.Tag]
	require.True(h.s.t, ok, "answered twice")
	delete(h.tags, hd.Tag)
	if hd.Code == 0 {
		h.acked[n] = true
	} else {
		h.refused[n] = true
	}
}

func (h *simHost) receive() {
	h.place = simPlace{on: true, seen: make(map[[2]uint64]bool)}
	h.core.Locate(simGroup, simWant(h.s))
	h.turn()
}

func (h *simHost) Located(group uint32, epoch, first, last uint64, another bool, err *connector.Error, text string) {
	if h.s.denied[streamOpen] != nil && err != nil { // as the hub may: it asks again at once
		if !h.s.patient {
			h.core.Locate(group, simWant(h.s))
		}
		return
	}
	require.Nil(h.s.t, err, text)
	p := &h.place
	if p.epoch != 0 && (p.epoch != epoch || another) {
		h.resets++
		p.pos = first - 1
	}
	p.epoch, p.limit, p.early = epoch, last+1, nil
	h.core.Read(group, p.limit)
	h.advance()
}

// advance fetches what is missing before what is read.
func (h *simHost) advance() {
	p := &h.place
	if p.pos+1 < p.limit {
		h.fetches++
		h.core.Fetch(simGroup, p.pos+1)
		return
	}
	early := p.early
	p.early = nil
	for i := range early {
		h.take(&early[i])
	}
}

func (h *simHost) take(s *broker.Stored) {
	p := &h.place
	if s.Pos <= p.pos {
		return
	}
	p.lost += s.Pos - p.pos - 1
	p.pos = s.Pos
	require.NotNil(h.s.t, s.Frame)
	m := simMsg{connector.HostOf(s.Port), numberOf(s.Frame)}
	key := [2]uint64{uint64(m.host), m.n}
	if p.seen[key] {
		p.twice++
	}
	p.seen[key] = true
	p.got = append(p.got, m)
}

func (h *simHost) Stored(_ uint32, s *broker.Stored) {
	p := &h.place
	if p.pos+1 < p.limit {
		p.early = append(p.early, *s)
		return
	}
	h.take(s)
}

func (h *simHost) Fetched(_ uint32, from, first uint64, msgs []broker.Stored) {
	p := &h.place
	require.Equal(h.s.t, p.pos+1, from)
	for i := range msgs {
		h.take(&msgs[i])
	}
	if len(msgs) == 0 && first > p.pos+1 {
		p.lost += first - p.pos - 1
		p.pos = first - 1
	}
	h.advance()
}

func (h *simHost) SetDurable(group uint32, want connector.History) {
	if h.durable[group] = want; !want.Durable {
		delete(h.durable, group)
		h.ended++
	}
}

func (h *simHost) Defined(_, tag uint32, err *connector.Error, text string) {
	require.Equal(h.s.t, h.s.denied[streamDelete] != nil, err != nil, text)
	h.defined++
	h.definedTags = append(h.definedTags, tag)
}

// keepTraffic has every host that lives send to the durable group for d.
func (s *sim) keepTraffic(d int64) {
	for end := s.now + d; s.now < end; s.forward(s.rand.Int64N(20 * ms)) {
		for _, h := range s.hosts {
			if h.core == nil {
				continue
			}
			for n := s.rand.IntN(6); n > 0; n-- {
				h.keep()
			}
			h.turn()
		}
	}
}

// settleDurable checks the books: what was acknowledged is in the stream once, in the order of its sender, and every
// receiver has got the same; whole says that nobody died, so that everything was acknowledged.
func (s *sim) settleDurable(whole bool) {
	seen := make(map[simMsg]bool)
	for _, h := range s.hosts {
		p := &h.place
		require.Zero(s.t, p.twice, "host %d", h.num)
		require.Zero(s.t, p.lost, "host %d", h.num)
		require.Zero(s.t, h.resets)
		require.Empty(s.t, h.refused)
		require.Equal(s.t, s.hosts[0].place.got, p.got, "all receivers get the same, in the same order")
		if whole {
			require.Len(s.t, h.acked, int(h.numSent), "host %d", h.num)
			require.Zero(s.t, h.window[storeHost])
			require.Zero(s.t, h.core.keptBytes)
		}
	}
	last := make(map[uint32]uint64)
	for _, m := range s.hosts[0].place.got {
		require.Greater(s.t, m.n, last[m.host], "order of host %d", m.host)
		last[m.host] = m.n
		seen[m] = true
	}
	total := 0
	for _, h := range s.hosts {
		for n := range h.acked {
			require.True(s.t, seen[simMsg{uint32(h.num), n}], "message %d of host %d was acknowledged, and is nowhere", n, h.num)
		}
		total += len(h.acked)
	}
	require.NotZero(s.t, total)
}

// TestDurableGroupsAreExactlyOnce: answers of the store get lost, come late, attempts that were given up are done
// later, hosts are cut off and die; the store's knowledge of names, which ends after a while, is of no importance.
func TestDurableGroupsAreExactlyOnce(t *testing.T) {
	for seed := range seeds(60) {
		s := newSim(t, 1000+seed, 2+int(seed%3))
		s.want = connector.History{Messages: 1 << 30, Durable: true}
		s.forgets = seed%2 == 0
		s.start()
		for _, h := range s.hosts {
			h.receive()
		}
		s.loss = float64(seed%5) * 0.05
		s.keepTraffic(1500 * ms)
		side := make([]int, len(s.hosts))
		side[1] = 1
		s.part(side...)
		s.keepTraffic(2000 * ms)
		s.part(make([]int, len(s.hosts))...)
		s.keepTraffic(1000 * ms)
		killed := seed%3 == 0
		if killed {
			s.hosts[0].kill()
			s.keepTraffic(500 * ms)
			s.forward(simLease)
			s.hosts[0].start()
			s.keepTraffic(1000 * ms)
		}
		s.loss = 0
		s.forward(30000 * ms)
		s.settleDurable(!killed)
		fetched := 0
		for _, h := range s.hosts {
			fetched += h.fetches
		}
		if killed {
			require.NotZero(t, fetched)
		}
	}
}

// TestWhatADurableGroupNoLongerKeepsIsCounted: a receiver is away for longer than the stream has room.
func TestWhatADurableGroupNoLongerKeepsIsCounted(t *testing.T) {
	for seed := range seeds(20) {
		s := newSim(t, 2000+seed, 2)
		s.want = connector.History{Messages: 50, Durable: true}
		s.start()
		away := s.hosts[1]
		away.receive()
		s.keepTraffic(200 * ms)
		s.forward(1000 * ms)
		require.Zero(t, away.place.lost)
		away.kill()
		s.keepTraffic(2000 * ms)
		s.forward(simLease + 1000*ms)
		away.start()
		s.keepTraffic(100 * ms)
		s.forward(5000 * ms)
		p := &away.place
		require.NotZero(t, p.lost)
		require.Zero(t, p.twice)
		require.Equal(t, s.streams[simGroup].last(), p.pos)
		require.Equal(t, p.pos, uint64(len(p.got))+p.lost, "every position is a message or counted as lost")
	}
}

// TestAStoreThatWasWiped: the stream is another one; the receiver is told, and goes on.
func TestAStoreThatWasWiped(t *testing.T) {
	s := newSim(t, 1, 2)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	for _, h := range s.hosts {
		h.receive()
	}
	s.keepTraffic(300 * ms)
	s.forward(2000 * ms)
	s.part(1, 1)
	delete(s.streams, simGroup)
	s.forward(500 * ms)
	s.part(0, 0)
	s.forward(1000 * ms)
	s.keepTraffic(300 * ms)
	s.forward(3000 * ms)
	for _, h := range s.hosts {
		assert.Equal(t, 1, h.resets)
		assert.Len(t, h.acked, int(h.numSent))
		assert.Equal(t, s.streams[simGroup].last(), h.place.pos)
	}
}

// TestDurableGroupsAreKnownEverywhere: one host defines a group, all know it, also one that comes later; then it ends.
func TestDurableGroupsAreKnownEverywhere(t *testing.T) {
	s := newSim(t, 1, 3)
	s.hosts[0].start()
	s.hosts[1].start()
	s.forward(1000 * ms)
	want := connector.History{Messages: 10, Durable: true}
	s.hosts[0].core.Define(7, 0, want)
	s.hosts[0].turn()
	s.forward(1000 * ms)
	require.Equal(t, 1, s.hosts[0].defined)
	s.hosts[2].start()
	s.forward(1000 * ms)
	for _, h := range s.hosts {
		require.Equal(t, map[uint32]connector.History{7: want}, h.durable, "host %d", h.num)
	}
	s.part(0, 1, 0)
	s.hosts[0].core.Define(7, 0, connector.History{})
	s.hosts[0].turn()
	s.forward(simLease * 2)
	s.part(0, 0, 0)
	s.forward(1000 * ms)
	for _, h := range s.hosts {
		require.Empty(t, h.durable, "host %d", h.num)
	}
	require.Equal(t, 2, s.hosts[0].defined)
}
