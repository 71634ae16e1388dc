package connector

import (
	"cmp"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/cnbus/cnbus/cbid"
)

// Genealogy gives requests their seq and ack and finds the request that an
// incoming message answers, by the rule of Documentation/driver-api/connector.rst as
// of 2005: a reply has the request's seq, and the request's ack + 1. Anything
// else is a new message.
//
// seq is unique among the outstanding calls and increases, with a wrap from
// 0xffffffff to 0; ack is random, so that nobody who has not seen the request can forge its
// reply. Beyond the rule, a reply must carry the request's id and, where the request went to a
// port, come from that port.
//
// It has no goroutine and no clock: whoever waits for a reply brings those, and ends what
// it no longer waits for by Cancel. The methods may be called from any goroutine. In the steady state nothing
// is allocated; memory is bounded by the limit of outstanding calls.
type Genealogy struct {
	limit int
	start int // size of the ring at first

	mu    sync.Mutex // guards what follows
	seq   uint32     // the next to try
	begun uint64
	rand  *rand.ChaCha8
	ring  []record // the record of seq s is at s modulo its length, a power of two
	stats GenealogyStats
}

// record is a call: outstanding, or ended lately. An ended one stays until its
// place in the ring is needed, which is after half as many calls as the ring has places at the
// soonest, because at most half of the places are outstanding.
type record struct {
	call  Call
	state recordState
}

type recordState uint8

const (
	recordFree        recordState = iota
	recordOutstanding             // waited for
	recordCancelled               // ended without a reply
	recordAnswered                // its reply, or its late one, was seen
)

// GenealogyConfig are the settings of a Genealogy; nil and zero fields mean the
// defaults.
type GenealogyConfig struct {
	// Limit is how many calls may be outstanding; default 65536.
	Limit int
	// Remember is how many of the calls that ended last are at least remembered, to tell
	// late and duplicate replies from new messages; default 64.
	Remember int
	// First is the first seq.
	First uint32
}

// Class says what an incoming message is to the calls of a Genealogy.
type Class uint8

const (
	ClassNew       Class = iota + 1 // no reply: a new message
	ClassReply                      // the reply to an outstanding call, which it ends
	ClassLate                       // the first reply to a call that was cancelled
	ClassDuplicate                  // a further reply to a call that had one
	ClassForeign                    // seq and ack of a call, but of another id or from another port
)

// String returns the class in one lower-case word.
func (c Class) String() string {
	switch c {
	case ClassNew:
		return "new"
	case ClassReply:
		return "reply"
	case ClassLate:
		return "late"
	case ClassDuplicate:
		return "duplicate"
	case ClassForeign:
		return "foreign"
	}
	return "unknown"
}

// Call is one request.
type Call struct {
	ID   cbid.ID
	Port uint32 // where it was sent to; 0 if that was not to a port
	Seq  uint32
	Ack  uint32
	Tag  any // the caller's

	n uint64 // tells it from a later call with the same seq
}

// GenealogyStats are counts since the beginning; Outstanding is the present one.
type GenealogyStats struct {
	Begun, Replies, Late, Duplicate, Foreign, New, Cancelled uint64
	Outstanding                                              int
}

const (
	defaultCalls    = 65536
	defaultRemember = 64
	mostCalls       = 1 << 30
)

// NewGenealogy returns a Genealogy without calls.
func NewGenealogy(config *GenealogyConfig) *Genealogy {
	var c GenealogyConfig
	if config != nil {
		c = *config
	}
	if c.Limit <= 0 {
		c.Limit = defaultCalls
	}
	if c.Remember <= 0 {
		c.Remember = defaultRemember
	}
	g := &Genealogy{limit: min(c.Limit, mostCalls), start: 2, seq: c.First}
	for g.start < 2*min(c.Remember, mostCalls) {
		g.start *= 2
	}
	return g
}

// Begin returns a new outstanding call with a seq and an ack for its request. port is
// where the request goes, 0 if not to a port. It fails with ErrLimit when too
// many are outstanding.
func (g *Genealogy) Begin(id cbid.ID, port uint32, tag any) (Call, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stats.Outstanding >= g.limit {
		return Call{}, &OpError{
			Op: "call", ID: id, HasID: true, Port: port,
			Err: fmt.Errorf("%d calls are outstanding: %w", g.limit, ErrLimit),
		}
	}
	if g.ring == nil || 2*(g.stats.Outstanding+1) > len(g.ring) {
		g.grow()
	}
	at := g.at(g.seq)
	for at.state == recordOutstanding {
		g.seq++
		at = g.at(g.seq)
	}
	g.begun++
	*at = record{
		state: recordOutstanding,
		call:  Call{ID: id, Port: port, Seq: g.seq, Ack: uint32(g.rand.Uint64()), Tag: tag, n: g.begun},
	}
	g.seq++
	g.stats.Begun++
	g.stats.Outstanding++
	return at.call, nil
}

func (g *Genealogy) at(seq uint32) *record { return &g.ring[int(seq)&(len(g.ring)-1)] }

// grow doubles the ring. Records that had places of their own keep them, since
// the lower bits of their seqs differ.
func (g *Genealogy) grow() {
	old := g.ring
	if old == nil {
		var seed [32]byte
		_, _ = crand.Read(seed[:]) // never fails, as its documentation says
		g.rand = rand.NewChaCha8(seed)
		g.ring = make([]record, g.start)
		return
	}
	g.ring = make([]record, 2*len(old))
	for _, r := range old {
		if r.state != recordFree {
			*g.at(r.call.Seq) = r
		}
	}
}

// Match classifies a message. For ClassReply the call has ended and is returned; it is
// returned for ClassLate, ClassDuplicate and ClassForeign too, without its Tag.
func (g *Genealogy) Match(m *Message, from *From) (Class, Call) {
	g.mu.Lock()
	defer g.mu.Unlock()
	class, r := g.classify(m, from)
	switch class {
	case ClassNew:
		g.stats.New++
		return ClassNew, Call{}
	case ClassReply:
		call := r.call
		g.end(r, recordAnswered)
		g.stats.Replies++
		return ClassReply, call
	case ClassLate:
		r.state = recordAnswered
		g.stats.Late++
	case ClassDuplicate:
		g.stats.Duplicate++
	case ClassForeign:
		g.stats.Foreign++
		call := r.call
		call.Tag = nil
		return ClassForeign, call
	}
	return class, r.call
}

func (g *Genealogy) classify(m *Message, from *From) (Class, *record) {
	if g.ring == nil {
		return ClassNew, nil
	}
	r := g.at(m.Seq)
	switch {
	case r.state == recordFree || r.call.Seq != m.Seq || r.call.Ack+1 != m.Ack:
		return ClassNew, nil
	case r.call.ID != m.ID || r.call.Port != 0 && r.call.Port != from.Port:
		return ClassForeign, r
	case r.state == recordOutstanding:
		return ClassReply, r
	case r.state == recordCancelled:
		return ClassLate, r
	}
	return ClassDuplicate, r
}

// end takes a call off the outstanding ones.
func (g *Genealogy) end(r *record, to recordState) {
	r.state = to
	r.call.Tag = nil
	g.stats.Outstanding--
}

// Cancel ends a call that nobody waits for any more. It reports whether the
// call was outstanding: if not, its reply has been matched before, or it was cancelled.
func (g *Genealogy) Cancel(c Call) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ring == nil {
		return false
	}
	r := g.at(c.Seq)
	if r.state != recordOutstanding || r.call.n != c.n {
		return false
	}
	g.end(r, recordCancelled)
	g.stats.Cancelled++
	return true
}

// FailAll cancels the outstanding calls that which accepts and returns them, in the
// order they began in; for the end of an agent or of a connection. A nil which accepts
// all. It is called without a lock; calls that begin meanwhile are not among them.
func (g *Genealogy) FailAll(which func(Call) bool) []Call {
	var failed []Call
	for _, c := range g.outstanding() {
		if (which == nil || which(c)) && g.Cancel(c) {
			failed = append(failed, c)
		}
	}
	return failed
}

func (g *Genealogy) outstanding() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	var calls []Call
	for i := range g.ring {
		if r := &g.ring[i]; r.state == recordOutstanding {
			calls = append(calls, r.call)
		}
	}
	slices.SortFunc(calls, func(a, b Call) int { return cmp.Compare(a.n, b.n) })
	return calls
}

// Stats returns the counts.
func (g *Genealogy) Stats() GenealogyStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}
