package sim

import "github.com/cnbus/cnbus/rxrpc/internal/proto"

// An event is something that will happen: what is interpreted by its kind.
type event struct {
	at   proto.Time
	n    uint64 // order among those of one moment
	kind eventKind
	host *host
	pkt  *packet
	do   func()
}

type eventKind uint8

const (
	evArrive eventKind = iota // pkt reaches host
	evWake                    // host's endpoint has a deadline
	evDo                      // do
)

// A clock is a heap of events.
type clock struct {
	now    proto.Time
	n      uint64
	events []event
}

func (c *clock) before(i, j int) bool {
	a, b := &c.events[i], &c.events[j]
	return a.at < b.at || a.at == b.at && a.n < b.n
}

func (c *clock) add(e event) {
	e.at = max(e.at, c.now)
	c.n++
	e.n = c.n
	c.events = append(c.events, e)
	for i := len(c.events) - 1; i > 0; {
		up := (i - 1) / 2
		if !c.before(i, up) {
			break
		}
		c.events[i], c.events[up] = c.events[up], c.events[i]
		i = up
	}
}

// next takes the earliest event out and goes to its time.
func (c *clock) next() (event, bool) {
	if len(c.events) == 0 {
		return event{}, false
	}
	e := c.events[0]
	last := len(c.events) - 1
	c.events[0] = c.events[last]
	c.events[last] = event{}
	c.events = c.events[:last]
	for i := 0; ; {
		l := 2*i + 1
		if l >= last {
			break
		}
		if l+1 < last && c.before(l+1, l) {
			l++
		}
		if !c.before(l, i) {
			break
		}
		c.events[i], c.events[l] = c.events[l], c.events[i]
		i = l
	}
	c.now = e.at
	return e, true
}

// after does something after a time.
func (c *clock) after(d proto.Time, do func()) {
	c.add(event{at: c.now + d, kind: evDo, do: do})
}
