package rxagent

// handles are the numbers of data that an interceptor was given and has not delivered, by the calls that they are of. What they cost the
// windows of the calls bound.
type handles struct {
	calls map[uint32]uint64         // the tags
	of    map[uint64]map[uint32]int // what each has taken of the window of its call
	cost  map[uint64]int            // what those of a call have taken
	last  uint32
}

// leastCost is what data of an interceptor count against the window of their call at least: a handle has to be remembered for the
// shortest of them.
const leastCost = 256

// add makes a handle for data that have taken cost.
func (h *handles) add(tag uint64, cost int) uint32 {
	if h.calls == nil {
		h.calls, h.of, h.cost = make(map[uint32]uint64), make(map[uint64]map[uint32]int), make(map[uint64]int)
	}
	for {
		h.last++
		if _, used := h.calls[h.last]; h.last != 0 && !used {
			break
		}
	}
	h.calls[h.last] = tag
	m := h.of[tag]
	if m == nil {
		m = make(map[uint32]int)
		h.of[tag] = m
	}
	m[h.last] = cost
	h.cost[tag] += cost
	return h.last
}

// take takes a handle out; false if there is none, or not any more.
func (h *handles) take(n uint32) (tag uint64, cost int, ok bool) {
	if tag, ok = h.calls[n]; !ok {
		return 0, 0, false
	}
	m := h.of[tag]
	cost = m[n]
	delete(h.calls, n)
	h.cost[tag] -= cost
	if delete(m, n); len(m) == 0 {
		delete(h.of, tag)
		delete(h.cost, tag)
	}
	return tag, cost, true
}

// forget takes those of a call out.
func (h *handles) forget(tag uint64) {
	for n := range h.of[tag] {
		delete(h.calls, n)
	}
	delete(h.of, tag)
	delete(h.cost, tag)
}
