package connector

import (
	"fmt"
	"slices"

	"github.com/cnbus/cnbus/cbid"
)

// WatchTable turns registrations and removals into the streams of watchers: for
// each the present state, a marker, and every later change, without a gap or a
// duplicate between them (see Watcher).
//
// Memory is bounded for each watcher. The present state is not copied: a
// watcher has a place in the ordered ids, and is told of those behind it as it asks. What changes
// among the ids that it was already told of is queued. When that queue is full, it is
// thrown away, and the watcher gets ChangeResync and the present state again.
//
// It has one user at a time and takes no lock: the carrier that changes its
// registry calls it in the same order.
type WatchTable struct {
	backlog  int
	infos    map[uint64]IDInfo
	keys     []uint64 // of infos, in order
	watchers map[uint64]*watcher
	ready    []*watcher
}

type watcher struct {
	id  uint64
	set *cbid.Set // nil for all

	phase  watchPhase
	cursor uint64 // phaseState: ids with keys below it were told
	past   bool   // phaseState: the highest key there is was told too
	queue  []Change
	head   int // of queue

	// asleep is set when Next has nothing more, and cleared when there is something.
	asleep  bool
	removed bool
}

type watchPhase uint8

const (
	phaseState    watchPhase = iota // the present state is being told
	phaseFollow                     // what is queued
	phaseOverflow                   // a resync comes next
)

const defaultBacklog = 256

// NewWatchTable returns a table without ids and watchers. backlog is how many
// changes are queued for a watcher; 0 means 256.
func NewWatchTable(backlog int) *WatchTable {
	if backlog <= 0 {
		backlog = defaultBacklog
	}
	return &WatchTable{backlog: backlog, infos: make(map[uint64]IDInfo), watchers: make(map[uint64]*watcher)}
}

// Add begins a watch of the ids in set, all for nil; it has something to tell at
// once. The name w is the caller's; ErrDuplicate when it is taken.
func (t *WatchTable) Add(w uint64, set *cbid.Set) error {
	if t.watchers[w] != nil {
		return &OpError{Op: "watch", Err: fmt.Errorf("watcher %d: %w", w, ErrDuplicate)}
	}
	if set != nil {
		set = set.Clone()
	}
	to := &watcher{id: w, set: set, asleep: true}
	t.watchers[w] = to
	t.wake(to)
	return nil
}

// Remove ends a watch. It reports whether there was one.
func (t *WatchTable) Remove(w uint64) bool {
	of := t.watchers[w]
	if of == nil {
		return false
	}
	of.removed = true
	of.queue = nil
	delete(t.watchers, w)
	return true
}

// Watchers is how many watches there are.
func (t *WatchTable) Watchers() int { return len(t.watchers) }

// Len is how many ids there are.
func (t *WatchTable) Len() int { return len(t.keys) }

// IDAdded says that an id was registered. If the table has it already, its
// removal is told first.
func (t *WatchTable) IDAdded(info IDInfo) {
	key := info.ID.Key()
	at, found := slices.BinarySearch(t.keys, key)
	if found {
		t.tell(Change{Kind: ChangeRemoved, Info: t.infos[key]})
	} else {
		t.keys = slices.Insert(t.keys, at, key)
	}
	t.infos[key] = info
	t.tell(Change{Kind: ChangeAdded, Info: info})
}

// IDRemoved says that an id was removed. It reports whether the table had it.
func (t *WatchTable) IDRemoved(id cbid.ID) bool {
	key := id.Key()
	at, found := slices.BinarySearch(t.keys, key)
	if !found {
		return false
	}
	info := t.infos[key]
	t.keys = slices.Delete(t.keys, at, at+1)
	delete(t.infos, key)
	t.tell(Change{Kind: ChangeRemoved, Info: info})
	return true
}

// IDUnknown says whether the host of a registered id cannot be reached. It does nothing for an id that
// the table does not have, or has so.
func (t *WatchTable) IDUnknown(id cbid.ID, unknown bool) {
	key := id.Key()
	info, found := t.infos[key]
	if !found || info.Unknown == unknown {
		return
	}
	info.Unknown = unknown
	t.infos[key] = info
	kind := ChangeAdded
	if unknown {
		kind = ChangeUnknown
	}
	t.tell(Change{Kind: kind, Info: info})
}

// tell queues a change for each watcher that it concerns.
func (t *WatchTable) tell(c Change) {
	for _, w := range t.watchers {
		if w.set != nil && !w.set.Contains(c.Info.ID) {
			continue
		}
		switch {
		case w.phase == phaseOverflow:
			continue // the state that follows the resync will have it
		case w.phase == phaseState && !w.past && c.Info.ID.Key() >= w.cursor:
			continue // it will be told when the cursor comes there
		case len(w.queue)-w.head >= t.backlog:
			w.overflow()
		default:
			w.push(c)
		}
		t.wake(w)
	}
}

func (w *watcher) overflow() {
	w.phase = phaseOverflow
	w.queue, w.head = nil, 0
}

func (w *watcher) push(c Change) {
	if len(w.queue) == cap(w.queue) && 2*w.head >= len(w.queue) {
		w.queue = slices.Delete(w.queue, 0, w.head)
		w.head = 0
	}
	w.queue = append(w.queue, c)
}

func (t *WatchTable) wake(w *watcher) {
	if w.asleep {
		w.asleep = false
		t.ready = append(t.ready, w)
	}
}

// Ready returns a watcher that has something to tell since its Next last returned
// false, or since it was added. Each is returned once for that; ok is false when there is none.
func (t *WatchTable) Ready() (w uint64, ok bool) {
	for len(t.ready) > 0 {
		r := t.ready[0]
		t.ready[0] = nil
		t.ready = t.ready[1:]
		if !r.removed {
			return r.id, true
		}
	}
	t.ready = nil
	return 0, false
}

// Resync makes a watcher begin again, with ChangeResync; for a carrier that has lost its
// connection. It reports whether there is such a watcher.
func (t *WatchTable) Resync(w uint64) bool {
	of := t.watchers[w]
	if of == nil {
		return false
	}
	of.overflow()
	t.wake(of)
	return true
}

// Next returns the next change for a watcher. ok is false when there is none at
// present, or no such watcher.
func (t *WatchTable) Next(w uint64) (c Change, ok bool) {
	of := t.watchers[w]
	if of == nil {
		return Change{}, false
	}
	switch of.phase {
	case phaseOverflow:
		of.phase, of.cursor, of.past = phaseState, 0, false
		return Change{Kind: ChangeResync}, true
	case phaseState:
		if c, ok = t.present(of); ok {
			return c, true
		}
		of.phase = phaseFollow
		return Change{Kind: ChangeMarker}, true
	}
	if of.head < len(of.queue) {
		c = of.queue[of.head]
		of.queue[of.head] = Change{}
		of.head++
		return c, true
	}
	if of.queue = of.queue[:0]; cap(of.queue) > 16 {
		of.queue = nil // a burst is over
	}
	of.head = 0
	of.asleep = true
	return Change{}, false
}

// present moves the cursor to the next id that the watcher wants.
func (t *WatchTable) present(w *watcher) (Change, bool) {
	if w.past {
		return Change{}, false
	}
	from, _ := slices.BinarySearch(t.keys, w.cursor)
	for _, key := range t.keys[from:] {
		if id := cbid.FromKey(key); w.set == nil || w.set.Contains(id) {
			w.cursor = key + 1
			w.past = w.cursor == 0
			return Change{Kind: ChangePresent, Info: t.infos[key]}, true
		}
	}
	return Change{}, false
}
