package connector

import (
	"encoding/binary"
	"fmt"
)

// HistoryState is where the records of a HistoryRing are in its store. With the
// store it is all that is needed to go on with the ring later.
type HistoryState struct {
	Head uint64 // offset of the oldest record
	Tail uint64 // offset behind the newest
	Next uint64 // position that the next message gets
}

// State returns where the ring's records are now.
func (r *HistoryRing) State() HistoryState {
	return HistoryState{Head: r.head, Tail: r.tail, Next: r.next}
}

// Reserve evicts all that Append of n bytes would evict. An owner that stores
// State elsewhere does so between the two, so that State never names a record
// that is being overwritten.
func (r *HistoryRing) Reserve(now int64, n int) {
	if HistorySize(n) > len(r.store) || (r.bounds.Bytes > 0 && n > r.bounds.Bytes) {
		return
	}
	for !r.MakeRoom(now, n) {
		r.evictOne()
	}
}

// AppendReserved is Append after MakeRoom has returned true, or Reserve: it evicts nothing.
func (r *HistoryRing) AppendReserved(now int64, msg []byte) {
	size := uint64(HistorySize(len(msg)))
	if size > uint64(len(r.store)) || (r.bounds.Bytes > 0 && len(msg) > r.bounds.Bytes) {
		r.next++
		r.clear()
		return
	}
	r.put(now, msg, nil, size)
}

// End returns the cursor whose next message is the next one appended: Seek(Last()),
// for those who ask often.
func (r *HistoryRing) End() HistoryCursor {
	return HistoryCursor{next: r.next, off: r.tail, gen: r.gen}
}

// RestoreHistoryRing makes a ring of a store and the state that belongs to it. It
// trusts neither: every record between the two ends is checked.
func RestoreHistoryRing(store []byte, bounds History, s HistoryState) (*HistoryRing, error) {
	r := NewHistoryRing(store, bounds)
	size := uint64(len(r.store))
	if s.Next == 0 || s.Head > s.Tail || s.Tail-s.Head > size || s.Head%8 != 0 || s.Tail%8 != 0 || size == 0 {
		return nil, fmt.Errorf("history: state %+v cannot be of a store of %d bytes: %w", s, size, ErrInvalid)
	}
	r.head, r.tail, r.first, r.next = s.Head, s.Tail, s.Next, s.Next
	n := uint64(0)
	for off := s.Head; off != s.Tail; n++ {
		if r.at(off)+4 <= size && r.length(off) == historySkip {
			off += size - r.at(off)
		}
		room := min(size-r.at(off), s.Tail-off)
		if off >= s.Tail || room < historyHeader || uint64(HistorySize(int(r.length(off)))) > room {
			return nil, fmt.Errorf("history: record %d of the store is cut off: %w", n, ErrInvalid)
		}
		pos := binary.NativeEndian.Uint64(r.store[r.at(off)+8:])
		if n == 0 {
			r.first = pos
		}
		if pos != r.first+n || pos >= s.Next {
			return nil, fmt.Errorf("history: record %d has position %d: %w", n, pos, ErrInvalid)
		}
		r.bytes += int(r.length(off))
		off += uint64(HistorySize(int(r.length(off))))
	}
	if r.first+n != r.next {
		// Positions that were given to messages too large to keep.
		if n > 0 {
			return nil, fmt.Errorf("history: the newest record is %d, the state says %d: %w", r.first+n-1, s.Next-1, ErrInvalid)
		}
		r.first = r.next
	}
	return r, nil
}
