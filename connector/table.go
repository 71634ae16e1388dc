package connector

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// table maps keys to entries: open addressing with linear probing in one flat
// array. Readers take no lock and write nothing. There is one writer at a time.
//
// A slot is written in the order key, entry, and its key never changes afterwards, so a
// reader that has seen the entry sees its key. Removal leaves a gravestone, which only the same
// key may take again; the writer builds a new array when too few slots are unused.
type table struct {
	current atomic.Pointer[slots]
	live    int // entries; writer only
	used    int // slots that are not empty; writer only
}

type slots struct {
	mult  uint64
	shift uint8
	slot  []slot
}

type slot struct {
	key   uint64
	entry atomic.Pointer[Entry]
}

// gravestone marks a slot whose entry was removed.
var gravestone = new(Entry)

const minSlots = 64

func newSlots(n int) *slots {
	// A random odd factor and the upper bits of the product: no choice of ids by who
	// does not know the factor makes many collide (Dietzfelbinger's multiply-shift).
	return &slots{mult: rand.Uint64() | 1, shift: uint8(64 - bits.TrailingZeros(uint(n))), slot: make([]slot, n)}
}

func (s *slots) start(key uint64) uint64 { return key * s.mult >> (s.shift & 63) }

// find returns the slot of key and what is in it, or the empty slot where it belongs. There is
// always an empty one. The slot may be taken at any moment: what was in it is looked at once.
func (s *slots) find(key uint64) (*slot, *Entry) {
	mask := uint64(len(s.slot) - 1)
	for i := s.start(key); ; i++ {
		at := &s.slot[i&mask]
		e := at.entry.Load()
		if e == nil || at.key == key {
			return at, e
		}
	}
}

// get returns the entry of key, or nil.
func (t *table) get(key uint64) *Entry {
	if s := t.current.Load(); s != nil {
		if _, e := s.find(key); e != gravestone {
			return e
		}
	}
	return nil
}

// put adds an entry whose key is not in the table.
func (t *table) put(key uint64, e *Entry) {
	s := t.current.Load()
	if s == nil || 4*(t.used+1) > 3*len(s.slot) {
		s = t.rebuild(t.live + 1)
	}
	at, old := s.find(key)
	if old == nil {
		at.key = key
		t.used++
	}
	at.entry.Store(e)
	t.live++
}

// remove takes away a key that is in the table.
func (t *table) remove(key uint64) {
	s := t.current.Load()
	at, _ := s.find(key)
	at.entry.Store(gravestone)
	t.live--
	if len(s.slot) > minSlots && 16*t.live < len(s.slot) {
		t.rebuild(t.live)
	}
}

// rebuild copies the entries into a new array in which live of them fill
// between a quarter and a half.
func (t *table) rebuild(live int) *slots {
	n := minSlots
	for n < 2*live {
		n *= 2
	}
	s := newSlots(n)
	if old := t.current.Load(); old != nil {
		for i := range old.slot {
			if e := old.slot[i].entry.Load(); e != nil && e != gravestone {
				at, _ := s.find(old.slot[i].key)
				at.key = old.slot[i].key
				at.entry.Store(e)
			}
		}
	}
	t.used = t.live
	t.current.Store(s)
	return s
}

// all calls yield for each entry until it returns false. Entries added or
// removed meanwhile may or may not be among them.
func (t *table) all(yield func(*Entry) bool) {
	s := t.current.Load()
	if s == nil {
		return
	}
	for i := range s.slot {
		if e := s.slot[i].entry.Load(); e != nil && e != gravestone && !yield(e) {
			return
		}
	}
}
