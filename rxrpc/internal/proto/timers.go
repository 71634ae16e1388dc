package proto

// An expirer has a timer. expire is called when it is due, and arms it again if
// there is more to wait for.
type expirer interface{ expire(now Time) }

// A timer is embedded in what it belongs to. It may go off early: setting it later
// than it is armed for costs nothing, because its owner looks what is due and
// arms it again.
type timer struct {
	when  Time // armed for; meaningless if pos is 0
	pos   int  // in the heap, from 1; 0: not armed
	owner expirer
}

type heapItem struct {
	when Time
	t    *timer
}

// A timerHeap has four children to a node: fewer cache lines than two.
type timerHeap struct{ items []heapItem }

// deadline is when the first timer goes off.
func (h *timerHeap) deadline() (Time, bool) {
	if len(h.items) == 0 {
		return 0, false
	}
	return h.items[0].when, true
}

// arm makes t go off no later than when.
func (h *timerHeap) arm(t *timer, when Time) {
	switch {
	case when == never:
	case t.pos == 0:
		t.when = when
		h.items = append(h.items, heapItem{when, t})
		h.up(len(h.items) - 1)
	case when < t.when:
		t.when = when
		h.items[t.pos-1].when = when
		h.up(t.pos - 1)
	}
}

// disarm takes t out.
func (h *timerHeap) disarm(t *timer) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos-1, len(h.items)-1
	t.pos = 0
	moved := h.items[last]
	h.items[last] = heapItem{}
	h.items = h.items[:last]
	if i == last {
		return
	}
	h.items[i] = moved
	moved.t.pos = i + 1
	h.down(i)
	h.up(moved.t.pos - 1)
}

// run lets everything expire that is due, and returns how many timers that were. What
// is armed meanwhile for now or earlier waits for the next run.
func (h *timerHeap) run(now Time) int {
	n := 0
	for limit := len(h.items) + 8; n < limit && len(h.items) > 0 && h.items[0].when <= now; n++ {
		t := h.items[0].t
		h.disarm(t)
		t.owner.expire(now)
	}
	return n
}

func (h *timerHeap) up(i int) {
	it := h.items[i]
	for i > 0 {
		p := (i - 1) / 4
		if h.items[p].when <= it.when {
			break
		}
		h.items[i] = h.items[p]
		h.items[i].t.pos = i + 1
		i = p
	}
	h.items[i] = it
	it.t.pos = i + 1
}

func (h *timerHeap) down(i int) {
	it := h.items[i]
	for {
		first := 4*i + 1
		if first >= len(h.items) {
			break
		}
		m := first
		for j := first + 1; j < min(first+4, len(h.items)); j++ {
			if h.items[j].when < h.items[m].when {
				m = j
			}
		}
		if h.items[m].when >= it.when {
			break
		}
		h.items[i] = h.items[m]
		h.items[i].t.pos = i + 1
		i = m
	}
	h.items[i] = it
	it.t.pos = i + 1
}
