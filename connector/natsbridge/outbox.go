package natsbridge

import (
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// outboxMost is how many bytes may wait for NATS before group messages, which are numbered, are dropped.
const outboxMost = 64 << 20

// outbox gives packets to NATS, in order. As long as that waits for nothing, which a write to the connection does not, the broker's loop
// does it itself; while NATS's client connects again, and for subscriptions, a goroutine does, and is all that is held up.
type outbox struct {
	nc     *nats.Conn
	line   *dialer
	prefix string
	in     chan *nats.Msg // what comes for the subscriptions
	fail   func(error)

	mu      sync.Mutex // guards what follows
	items   []outItem
	bytes   int
	busy    bool // the goroutine does some that were taken out
	dropped uint64
	closed  bool
	more    sync.Cond

	subs  map[uint32]*nats.Subscription // of the goroutine
	names map[subject]string            // those that are used; of the goroutine while it has something, else of the loop
}

// outItem is a packet, or with a nil one a subscription that begins or ends.
type outItem struct {
	to subject
	b  []byte
	on bool
}

func newOutbox(nc *nats.Conn, line *dialer, prefix string, in chan *nats.Msg, fail func(error)) *outbox {
	o := &outbox{nc: nc, line: line, prefix: prefix, in: in, fail: fail, subs: make(map[uint32]*nats.Subscription), names: make(map[subject]string)}
	o.more.L = &o.mu
	return o
}

// put returns whether the packet is not kept. It is called on the broker's loop alone.
func (o *outbox) put(it outItem) bool {
	if o.keep(&it) {
		return false
	}
	o.one(&it)
	o.line.leave()
	return true
}

// keep keeps an item for the goroutine, or drops it. If it returns false a packet can be sent at once, and line.leave is to be called
// then.
func (o *outbox) keep(it *outItem) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return true
	case it.to.kind == packetGroup && it.b != nil && o.bytes+o.line.waiting() > outboxMost:
		o.dropped++
		return true
	case it.b != nil && len(o.items) == 0 && !o.busy && o.line.enter():
		return false
	}
	o.bytes += len(it.b)
	o.items = append(o.items, *it)
	if len(o.items) == 1 {
		o.more.Signal()
	}
	return true
}

// drops is how many group messages were dropped because NATS took none.
func (o *outbox) drops() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dropped
}

// close ends run when all is done.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.more.Signal()
}

// run empties the outbox until it is closed.
func (o *outbox) run() {
	var items []outItem
	for {
		o.mu.Lock()
		for len(o.items) == 0 && !o.closed {
			o.more.Wait()
		}
		if len(o.items) == 0 {
			o.mu.Unlock()
			return
		}
		items, o.items = o.items, items[:0]
		o.bytes = 0
		o.busy = true
		o.mu.Unlock()
		for i := range items {
			if items[i].b != nil {
				o.line.room()
			}
			o.one(&items[i])
			items[i].b = nil
		}
		o.mu.Lock()
		o.busy = false
		o.mu.Unlock()
	}
}

// one does one item. A packet that NATS does not take, because there is no connection, is lost as one on
// the way is.
func (o *outbox) one(it *outItem) {
	if it.b != nil {
		_ = o.nc.Publish(o.name(it.to), it.b)
		return
	}
	sub := o.subs[it.to.num]
	var err error
	switch {
	case it.on && sub == nil:
		if sub, err = o.nc.ChanSubscribe(o.subject(it.to), o.in); err == nil {
			o.subs[it.to.num] = sub
		}
	case !it.on && sub != nil:
		delete(o.subs, it.to.num)
		err = sub.Unsubscribe()
	}
	if err != nil {
		o.fail(fmt.Errorf("subscription of group %d: %w", it.to.num, err))
	}
}

// namesMost is how many subjects are remembered at a time.
const namesMost = 1 << 13

// name is subject, remembered.
func (o *outbox) name(to subject) string {
	s, ok := o.names[to]
	if !ok {
		if len(o.names) >= namesMost {
			clear(o.names)
		}
		s = o.subject(to)
		o.names[to] = s
	}
	return s
}

func (o *outbox) subject(to subject) string {
	switch to.kind {
	case packetBeacon:
		return o.prefix + "all"
	case packetLink:
		return fmt.Sprintf("%sh.%d", o.prefix, to.num)
	}
	return fmt.Sprintf("%sg.%d", o.prefix, to.num)
}

// subjectOf undoes outbox.subject.
func subjectOf(s, prefix string) (to subject, ok bool) {
	if len(s) <= len(prefix) || s[:len(prefix)] != prefix {
		return to, false
	}
	s = s[len(prefix):]
	if s == "all" {
		return subject{kind: packetBeacon}, true
	}
	if len(s) < 3 || s[1] != '.' {
		return to, false
	}
	switch s[0] {
	case 'h':
		to.kind = packetLink
	case 'g':
		to.kind = packetGroup
	default:
		return to, false
	}
	var n uint64
	for _, c := range []byte(s[2:]) {
		if c < '0' || c > '9' {
			return to, false
		}
		if n = 10*n + uint64(c-'0'); n > 0xffffffff {
			return to, false
		}
	}
	to.num = uint32(n)
	return to, true
}
