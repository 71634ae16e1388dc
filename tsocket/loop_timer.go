package tsocket

import "time"

// LoopTimer calls a function on a loop when its time has come.
type LoopTimer struct {
	loop *Loop
	fn   func()
	when time.Time
	at   int // in the heap, guarded by loop.mu; -1: not in it
}

// AfterFunc has fn called on the loop after d, once; Reset makes that later, or again.
// Nothing is called after Close.
func (l *Loop) AfterFunc(d time.Duration, fn func()) *LoopTimer {
	t := &LoopTimer{loop: l, fn: fn, at: -1}
	t.Reset(d)
	return t
}

// Reset has the function called after d from now, whether it has been called or not, and not
// at the time set before. It returns whether it was still to be called.
func (t *LoopTimer) Reset(d time.Duration) bool {
	l := t.loop
	when := time.Now().Add(d)
	l.mu.Lock()
	was := t.at >= 0
	if was {
		l.timers.remove(t)
	}
	if l.closing {
		l.mu.Unlock()
		return was
	}
	t.when = when
	l.timers.add(t)
	first := t.at == 0
	if first {
		l.pending.Store(1)
	}
	l.mu.Unlock()
	if first {
		l.wake()
	}
	return was
}

// Stop takes the timer back; false if the function has been called, or is about to be on another
// goroutine. Called on the loop, Stop is exact.
func (t *LoopTimer) Stop() bool {
	l := t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.at < 0 {
		return false
	}
	l.timers.remove(t)
	return true
}

// runTimers calls the timers that are due, as far as the budget goes.
func (l *Loop) runTimers() {
	if l.due.IsZero() {
		return
	}
	now := l.clock
	if now.IsZero() {
		now = time.Now()
	}
	if l.due.After(now) {
		return
	}
	for range l.budget {
		l.mu.Lock()
		t := l.timers.pop(now)
		if t == nil {
			l.mu.Unlock()
			break
		}
		l.mu.Unlock()
		t.fn()
	}
	l.mu.Lock()
	l.due = l.timers.first()
	l.mu.Unlock()
}

// timerHeap has the earliest timer in front.
type timerHeap []*LoopTimer

// first returns when the earliest timer is due, the zero Time if there is none.
func (h timerHeap) first() time.Time {
	if len(h) == 0 {
		return time.Time{}
	}
	return h[0].when
}

func (h *timerHeap) add(t *LoopTimer) {
	t.at = len(*h)
	*h = append(*h, t)
	h.up(t.at)
}

func (h *timerHeap) remove(t *LoopTimer) {
	i, last := t.at, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	t.at = -1
	if i < last {
		h.up(i)
		h.down(i)
	}
}

// pop takes out the earliest timer if it is due.
func (h *timerHeap) pop(now time.Time) *LoopTimer {
	if len(*h) == 0 || (*h)[0].when.After(now) {
		return nil
	}
	t := (*h)[0]
	h.remove(t)
	return t
}

func (h timerHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].when.Before(h[parent].when) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timerHeap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].when.Before(h[c].when) {
			c++
		}
		if !h[c].when.Before(h[i].when) {
			return
		}
		h.swap(i, c)
		i = c
	}
}
