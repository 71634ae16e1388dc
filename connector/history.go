package connector

import (
	"encoding/binary"
	"math"
)

// HistoryRing keeps the last messages of a group, each with its position: 1
// for the first, and one more for every further one. It is bounded by a History and by
// the size of its store. Readers hold a HistoryCursor and are told exactly how many messages
// were evicted before they came to them.
//
// It does no I/O, knows no clock, allocates nothing after NewHistoryRing, and
// is not safe for concurrent use: its owner holds the group's lock.
//
// A record in the store is contiguous and starts at a multiple of 8:
//
//	| length u32 | 0 u32 | position u64 | time i64 | bytes ... | padding to 8 |
//
// The length math.MaxUint32 says that the rest of the store, up to its end, is unused.
type HistoryRing struct {
	store  []byte
	bounds History

	// head and tail are offsets that only grow; a record's place in the
	// store is its offset modulo the store's length.
	head, tail uint64
	first      uint64 // position of the record at head
	next       uint64 // position of the next message appended
	bytes      int    // message bytes kept
	gen        uint32 // changes when the records move, which makes offsets stale
}

const (
	historyHeader = 24
	historySkip   = math.MaxUint32
)

// HistorySize is the room that a message of n bytes takes in a HistoryRing's store.
func HistorySize(n int) int { return (historyHeader + n + 7) &^ 7 }

// HistoryCursor is a reader's place in a HistoryRing, made by Seek.
type HistoryCursor struct {
	next uint64 // position of the next message wanted
	off  uint64 // its offset, if gen is the ring's
	gen  uint32
}

// Next is the position that the cursor will read next.
func (c HistoryCursor) Next() uint64 { return c.next }

// NewHistoryRing returns an empty ring over store, whose length should be a
// multiple of 8 (what is over is not used). The first position given out is 1.
func NewHistoryRing(store []byte, bounds History) *HistoryRing {
	return &HistoryRing{store: store[:len(store)&^7], bounds: bounds, first: 1, next: 1, gen: 1}
}

// Len is the number of messages kept.
func (r *HistoryRing) Len() int { return int(r.next - r.first) }

// Bytes is the sum of the lengths of the messages kept.
func (r *HistoryRing) Bytes() int { return r.bytes }

// First is the position of the oldest message kept; Last()+1 when there is none.
func (r *HistoryRing) First() uint64 { return r.first }

// Last is the position of the newest message appended, 0 before the first.
func (r *HistoryRing) Last() uint64 { return r.next - 1 }

// StoreLen is the number of usable bytes of the store.
func (r *HistoryRing) StoreLen() int { return len(r.store) }

// Append keeps the message made of the two parts a and b, evicting what the bounds or
// the store no longer have room for, and returns its position. now is in nanoseconds, on a clock
// that the caller chooses. A message larger than the bounds or than the store takes a
// position but is not kept.
func (r *HistoryRing) Append(now int64, a, b []byte) uint64 {
	n := len(a) + len(b)
	pos := r.next
	size := uint64(HistorySize(n))
	if size > uint64(len(r.store)) || (r.bounds.Bytes > 0 && n > r.bounds.Bytes) {
		r.next++
		r.clear()
		return pos
	}
	for !r.MakeRoom(now, n) {
		r.evictOne()
	}
	r.put(now, a, b, size)
	return pos
}

// put writes a record of size for which there is room.
func (r *HistoryRing) put(now int64, a, b []byte, size uint64) {
	n := len(a) + len(b)
	pad := r.padding(size)
	if pad > 0 {
		binary.NativeEndian.PutUint32(r.store[r.at(r.tail):], historySkip)
		r.tail += pad
	}
	rec := r.store[r.at(r.tail):][:size]
	binary.NativeEndian.PutUint32(rec, uint32(n))
	binary.NativeEndian.PutUint32(rec[4:], 0)
	binary.NativeEndian.PutUint64(rec[8:], r.next)
	binary.NativeEndian.PutUint64(rec[16:], uint64(now))
	copy(rec[historyHeader+copy(rec[historyHeader:], a):], b)
	r.tail += size
	r.bytes += n
	r.next++
}

// MakeRoom evicts what the bounds do not allow beside a further message of n bytes, as
// Append would, and reports whether the store then has room for that message. If not, Append evicts more:
// the caller may Grow before.
func (r *HistoryRing) MakeRoom(now int64, n int) bool {
	r.Evict(now)
	if r.bounds.Bytes > 0 && n > r.bounds.Bytes {
		return true // no store makes it fit
	}
	for r.Len() > 0 && r.overBounds(n) {
		r.evictOne()
	}
	size := uint64(HistorySize(n))
	return r.tail-r.head+r.padding(size)+size <= uint64(len(r.store))
}

// Grow moves the records into a larger store and returns the old one. Cursors stay
// valid. A store that is not larger is refused by returning it.
func (r *HistoryRing) Grow(store []byte) []byte {
	store = store[:len(store)&^7]
	if len(store) <= len(r.store) {
		return store
	}
	n := uint64(0)
	for off := r.head; off != r.tail; {
		off = r.skip(off)
		size := uint64(HistorySize(int(r.length(off))))
		copy(store[n:], r.store[r.at(off):][:size])
		n += size
		off += size
	}
	old := r.store
	r.store, r.head, r.tail = store, 0, n
	r.gen++
	return old
}

// SetBounds changes the bounds and evicts what they no longer allow.
func (r *HistoryRing) SetBounds(now int64, bounds History) {
	r.bounds = bounds
	r.Evict(now)
	for r.Len() > 0 && ((bounds.Messages > 0 && r.Len() > bounds.Messages) || (bounds.Bytes > 0 && r.bytes > bounds.Bytes)) {
		r.evictOne()
	}
}

// Evict drops the messages that are older than the bounds' age at the time now.
func (r *HistoryRing) Evict(now int64) {
	if r.bounds.Age <= 0 {
		return
	}
	for r.Len() > 0 {
		r.head = r.skip(r.head)
		t := int64(binary.NativeEndian.Uint64(r.store[r.at(r.head)+16:]))
		if now-t <= int64(r.bounds.Age) {
			return
		}
		r.evictOne()
	}
}

// SkipTo drops all that is kept and has the next message get the position pos, unless that was given out before.
func (r *HistoryRing) SkipTo(pos uint64) {
	if pos <= r.next {
		return
	}
	r.next = pos
	r.bytes = 0
	r.clear()
}

// Seek returns a cursor whose next message is the one after pos. A position not yet given out
// is taken as the last one. It walks the records: O(Len).
func (r *HistoryRing) Seek(pos uint64) HistoryCursor {
	c := HistoryCursor{next: r.next}
	if pos < r.next {
		c.next = pos + 1
	}
	r.locate(&c)
	return c
}

// Read returns the next message of c: its bytes, which stay valid until the next
// Append, Grow, Evict or SetBounds, and its position. When messages were
// evicted before c came to them it returns their number instead, once. At the end pos and
// lost are 0.
func (r *HistoryRing) Read(c *HistoryCursor) (msg []byte, pos, lost uint64) {
	if c.next < r.first {
		lost = r.first - c.next
		c.next, c.off, c.gen = r.first, r.head, r.gen
		return nil, 0, lost
	}
	if c.next >= r.next {
		return nil, 0, 0
	}
	switch {
	case c.gen != r.gen:
		r.locate(c)
	case c.next == r.first:
		c.off = r.head // c.off may be at an unused end that is in use again
	}
	off := r.skip(c.off)
	at := r.at(off)
	n := r.length(off)
	pos = binary.NativeEndian.Uint64(r.store[at+8:])
	msg = r.store[at+historyHeader:][:n:n]
	c.next, c.off = pos+1, off+uint64(HistorySize(int(n)))
	return msg, pos, 0
}

func (r *HistoryRing) at(off uint64) uint64 { return off % uint64(len(r.store)) }
func (r *HistoryRing) length(off uint64) uint32 {
	return binary.NativeEndian.Uint32(r.store[r.at(off):])
}

// skip returns the offset of the record at off, behind the unused end of the
// store if off is there.
func (r *HistoryRing) skip(off uint64) uint64 {
	if off != r.tail && r.length(off) == historySkip {
		off += uint64(len(r.store)) - r.at(off)
	}
	return off
}

// padding is how much of the store's end must stay unused for a record of size
// to be contiguous.
func (r *HistoryRing) padding(size uint64) uint64 {
	if rest := uint64(len(r.store)) - r.at(r.tail); rest < size {
		return rest
	}
	return 0
}

func (r *HistoryRing) overBounds(n int) bool {
	return (r.bounds.Messages > 0 && r.Len() >= r.bounds.Messages) || (r.bounds.Bytes > 0 && r.bytes+n > r.bounds.Bytes)
}

func (r *HistoryRing) evictOne() {
	r.head = r.skip(r.head)
	n := r.length(r.head)
	r.head += uint64(HistorySize(int(n)))
	r.bytes -= int(n)
	r.first++
	if r.first == r.next {
		r.clear()
	}
}

// clear makes the ring empty and starts it at the store's beginning, so that
// one record of the store's size always fits.
func (r *HistoryRing) clear() {
	r.head, r.tail, r.bytes, r.first = 0, 0, 0, r.next
	r.gen++
}

// locate sets c's offset from its position.
func (r *HistoryRing) locate(c *HistoryCursor) {
	c.gen, c.off = r.gen, r.head
	if c.next >= r.next {
		c.off = r.tail
		return
	}
	for p := r.first; p < c.next; p++ {
		c.off = r.skip(c.off)
		c.off += uint64(HistorySize(int(r.length(c.off))))
	}
}
