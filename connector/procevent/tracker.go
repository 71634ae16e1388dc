package procevent

// tracker knows of each process what filters may ask: its user, cgroup and
// parent. It follows forks, so that /proc is read only for processes that are older than it, and
// for the cgroup after an exec. It has one owner.
type tracker struct {
	res     *resolver
	clock   clock
	procs   map[uint32]*tracked
	touched map[uint32]struct{} // forked or ended since the scan began; nil when none is going on
}

type tracked struct {
	uid     uint32
	cgroup  string
	parent  uint32
	start   uint64
	threads int
	recheck bool // the cgroup may have been changed before an exec
}

func newTracker(root string) *tracker {
	return &tracker{res: newResolver(root, EnrichUser|EnrichCgroup), clock: newClock(), procs: make(map[uint32]*tracked)}
}

func (t *tracker) close() { t.res.close() }

// scan returns a job that reads all processes; merge takes its result.
func (t *tracker) scan() *job {
	j := &job{scan: true, done: make(chan struct{})}
	if !t.res.start(j) {
		return nil
	}
	t.touched = make(map[uint32]struct{})
	return j
}

// merge takes what a scan found. What events told since it began is newer.
func (t *tracker) merge(all map[uint32]process) {
	for tgid := range t.procs {
		_, newer := t.touched[tgid]
		if _, ok := all[tgid]; !ok && !newer {
			delete(t.procs, tgid)
		}
	}
	for tgid, p := range all {
		if _, newer := t.touched[tgid]; !newer {
			t.procs[tgid] = trackedOf(p)
		}
	}
	t.touched = nil
}

func trackedOf(p process) *tracked {
	return &tracked{uid: p.UID, cgroup: p.Cgroup, parent: p.parent, start: p.Start, threads: p.threads}
}

// before follows an event ahead of the filters.
func (t *tracker) before(e *Event) {
	switch e.Kind {
	case Fork:
		if e.IsThread() {
			if p := t.procs[e.Tgid]; p != nil {
				p.threads++
			}
			return
		}
		t.touch(e.Tgid)
		delete(t.procs, e.Tgid)
		if parent := t.parentOf(e); parent != nil {
			t.procs[e.Tgid] = &tracked{
				uid: parent.uid, cgroup: parent.cgroup, recheck: parent.recheck,
				parent: e.ParentTgid, start: t.clock.ticks(e.Time), threads: 1,
			}
		}
	case UID:
		if p := t.procs[e.Tgid]; p != nil && !e.IsThread() {
			p.uid = e.RealID
		}
	case Exec:
		if p := t.procs[e.Tgid]; p != nil {
			p.recheck, p.threads = true, 1
		}
	}
}

// parentOf returns what is known of a fork's parent, which is likelier to be
// still there than a child that ends at once.
func (t *tracker) parentOf(e *Event) *tracked {
	if p := t.procs[e.ParentTgid]; p != nil {
		return p
	}
	return t.lookup(e.ParentTgid, e)
}

// after follows an event behind the filters. It reports whether the process is gone.
func (t *tracker) after(e *Event) (gone bool) {
	if e.Kind != Exit {
		return false
	}
	p := t.procs[e.Tgid]
	if p == nil {
		return !e.IsThread()
	}
	// Threads end in any order, the first one not last.
	if p.threads--; p.threads > 0 {
		return false
	}
	t.touch(e.Tgid)
	delete(t.procs, e.Tgid)
	return true
}

func (t *tracker) touch(tgid uint32) {
	if t.touched != nil {
		t.touched[tgid] = struct{}{}
	}
}

// get returns what is known of the event's process, reading /proc if need be, or nil. cgroup says
// whether the cgroup must be right.
func (t *tracker) get(e *Event, cgroup bool) *tracked {
	p := t.procs[e.Tgid]
	if p != nil && !(cgroup && p.recheck) {
		return p
	}
	found := t.lookup(e.Tgid, e)
	switch {
	case p == nil:
		return found
	case found != nil:
		p.cgroup, p.recheck = found.cgroup, false
	}
	// A process that ended before its exec was looked at is taken to be where
	// its parent was.
	t.procs[e.Tgid] = p
	return p
}

// lookup reads a process that was there at the time of e, and keeps what it finds.
func (t *tracker) lookup(tgid uint32, e *Event) *tracked {
	found, result := t.res.lookup(tgid)
	if result != lookupOK || t.clock.after(found.Start, e.Time) {
		return nil
	}
	p := trackedOf(found)
	t.procs[tgid] = p
	return p
}

// descendants adds to members every process that has an ancestor in it.
func (t *tracker) descendants(members map[uint32]struct{}) {
	const unknown, in, out = 0, 1, 2
	state := make(map[uint32]int, len(t.procs))
	for tgid := range t.procs {
		var path []uint32
		verdict := out
		for at := tgid; ; {
			if s := state[at]; s != unknown {
				verdict = s
				break
			}
			path = append(path, at)
			if _, ok := members[at]; ok {
				verdict = in
				break
			}
			state[at] = out // a cycle cannot be, but must not hang
			p := t.procs[at]
			if p == nil || p.parent == 0 {
				break
			}
			at = p.parent
		}
		for _, at := range path {
			state[at] = verdict
		}
	}
	for tgid, s := range state {
		if _, ok := t.procs[tgid]; ok && s == in {
			members[tgid] = struct{}{}
		}
	}
}
