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
	seed  uint64
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
	// The seed keeps somebody who may choose ids from choosing ones that collide.
	return &slots{seed: rand.Uint64(), shift: uint8(64 - bits.TrailingZeros(uint(n))), slot: make([]slot, n)}
}

func (s *slots) start(key uint64) uint64 {
	hi, lo := bits.Mul64(key^s.seed, 0x9e3779b97f4a7c15)
	return (hi ^ lo) >> s.shift
}

// find returns the slot of key, or the empty slot where it belongs. There is
// always an empty one.
func (s *slots) find(key uint64) *slot {
	mask := uint64(len(s.slot) - 1)
	for i := s.start(key) & mask; ; i = (i + 1) & mask {
		at := &s.slot[i]
		if at.entry.Load() == nil || at.key == key {
			return at
		}
	}
}

// get returns the entry of key, or nil.
func (t *table) get(key uint64) *Entry {
	s := t.current.Load()
	if s == nil {
		return nil
	}
	mask := uint64(len(s.slot) - 1)
	for i := s.start(key) & mask; ; i = (i + 1) & mask {
		at := &s.slot[i]
		e := at.entry.Load()
		if e == nil {
			return nil
		}
		if at.key == key {
			if e == gravestone {
				return nil
			}
			return e
		}
	}
}

// put adds an entry whose key is not in the table.
func (t *table) put(key uint64, e *Entry) {
	s := t.current.Load()
	if s == nil || 4*(t.used+1) > 3*len(s.slot) {
		s = t.rebuild(t.live + 1)
	}
	at := s.find(key)
	if at.entry.Load() == nil {
		at.key = key
		t.used++
	}
	at.entry.Store(e)
	t.live++
}

// remove takes away a key that is in the table.
func (t *table) remove(key uint64) {
	s := t.current.Load()
	s.find(key).entry.Store(gravestone)
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
				at := s.find(old.slot[i].key)
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
