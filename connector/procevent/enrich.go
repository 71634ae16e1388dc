package procevent

import "sync/atomic"

// EnrichStats counts lookups in /proc.
type EnrichStats struct {
	Found uint64 // looked up
	Gone  uint64 // the process had ended, or was another already
	Late  uint64 // given up because /proc took too long, or too many others did
}

// enricher attaches Info to events. It runs in Recv: the reader of the socket
// never waits for it. A child is known by its parent, so that only exec, and what
// is older than the subscription, costs a lookup.
type enricher struct {
	res   *resolver
	clock clock

	// What follows belongs to the caller of Recv.
	known map[uint32]*Info
	dead  []deadInfo // a ring of the last processes that ended
	next  int

	found, gone, late atomic.Uint64
}

type deadInfo struct {
	tgid uint32
	info *Info
}

// keepDead is how many ended processes are remembered, for the events of
// threads that end after their process's first one.
const keepDead = 1024

func newEnricher(what Enrich) *enricher { return newEnricherAt("/proc", what) }

func newEnricherAt(root string, what Enrich) *enricher {
	return &enricher{
		res: newResolver(root, what), clock: newClock(),
		known: make(map[uint32]*Info), dead: make([]deadInfo, keepDead),
	}
}

func (r *enricher) stats() EnrichStats {
	return EnrichStats{Found: r.found.Load(), Gone: r.gone.Load(), Late: r.late.Load()}
}

func (r *enricher) close() { r.res.close() }

// add sets e.Info.
func (r *enricher) add(e *Event) {
	switch e.Kind {
	case Lost:
		// Ends may be among what is missing, so every id may be another process.
		clear(r.known)
		return
	case Ack:
		return
	case Fork:
		if e.IsThread() {
			break
		}
		delete(r.known, e.Tgid)
		if p := r.get(e, e.ParentTgid); p != nil {
			child := *p
			child.Start = r.clock.ticks(e.Time)
			r.known[e.Tgid], e.Info = &child, &child
		}
		return
	case Exec:
		delete(r.known, e.Tgid)
	case UID, GID:
		r.changeID(e)
	}
	if e.Tgid == 0 {
		return
	}
	e.Info = r.get(e, e.Tgid)
	if e.Kind == Exit && !e.IsThread() {
		r.bury(e.Tgid)
	}
}

// get returns what is known of a process, or looks it up.
func (r *enricher) get(e *Event, tgid uint32) *Info {
	if i, ok := r.known[tgid]; ok {
		return i
	}
	if e.Kind == Exit && !e.IsThread() {
		return nil // gone already, or about to be
	}
	p, result := r.res.lookup(tgid)
	switch {
	case result == lookupBusy || result == lookupLate:
		r.late.Add(1)
		return nil
	case result == lookupGone, r.clock.after(p.Start, e.Time):
		r.gone.Add(1)
		return nil
	}
	r.found.Add(1)
	info := p.Info
	r.known[tgid] = &info
	return &info
}

// changeID keeps the ids of a process right without a lookup.
func (r *enricher) changeID(e *Event) {
	old, ok := r.known[e.Tgid]
	if !ok || e.IsThread() {
		return
	}
	info := *old
	if e.Kind == UID {
		info.UID = e.RealID
	} else {
		info.GID = e.RealID
	}
	r.known[e.Tgid] = &info
}

func (r *enricher) bury(tgid uint32) {
	slot := &r.dead[r.next]
	if slot.info != nil && r.known[slot.tgid] == slot.info {
		delete(r.known, slot.tgid)
	}
	*slot = deadInfo{tgid, r.known[tgid]}
	r.next = (r.next + 1) % len(r.dead)
}
