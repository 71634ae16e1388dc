package rxclient

import (
	"context"
	"sync"
	"time"
)

// outbox is what an engine is about to post. Its owner posts it, on the goroutine of whoever wants something; but a bus may make who
// posts wait, for a broker that does not read or for the connection to come back, and the owner must not. What
// has not left within a moment a goroutine posts, and all that follows, until there is nothing left.
type outbox struct {
	e    *engine
	cur  batch // of the owner
	pace pacer // of the owner

	// mu guards what follows.
	mu     sync.Mutex
	stuck  bool // the goroutine is at work
	bytes  int  // that it has
	queue  []batch
	closed bool
	spare  batch
}

// A batch are messages side by side in one piece of memory.
type batch struct {
	mem  []byte
	msgs []outMsg
}

type outMsg struct {
	s   *farSocket
	end int // in mem
}

const (
	// maxStuck is how much may wait for the goroutine before calls have to wait.
	maxStuck = 1 << 20
	// patience is how long the owner waits for the bus.
	patience = 10 * time.Millisecond
)

func (o *outbox) init(e *engine) { o.e = e }

// sent ends a message that was appended to cur.mem.
func (o *outbox) sent(s *farSocket) {
	o.cur.msgs = append(o.cur.msgs, outMsg{s, len(o.cur.mem)})
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.cur.msgs) == 0 && !o.stuck
}

// full reports whether data has to wait.
func (o *outbox) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes > maxStuck
}

// flush posts, or has it posted. The owner calls it.
func (o *outbox) flush() {
	if len(o.cur.msgs) == 0 {
		return
	}
	o.mu.Lock()
	stuck := o.stuck
	o.mu.Unlock()
	from := 0
	if !stuck {
		from = o.post(o.pace.arm(), &o.cur)
		o.pace.disarm()
	}
	if from == len(o.cur.msgs) {
		o.cur.clear()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.cur.clear()
		return
	}
	rest := o.cur
	rest.msgs = rest.msgs[from:]
	if from > 0 {
		rest.mem = rest.mem[o.cur.msgs[from-1].end:]
		for i := range rest.msgs {
			rest.msgs[i].end -= o.cur.msgs[from-1].end
		}
	}
	o.queue = append(o.queue, rest)
	o.bytes += len(rest.mem)
	o.cur, o.spare = o.spare, batch{}
	if !o.stuck {
		o.stuck = true
		o.e.wg.Go(o.drain)
	}
}

// post posts the messages of b, and returns how many have left.
func (o *outbox) post(ctx context.Context, b *batch) int {
	at := 0
	defer o.e.c.flush()
	for i, m := range b.msgs {
		data := b.mem[at:m.end]
		at = m.end
		if m.s.gone.Load() {
			continue
		}
		if err := o.e.c.postMore(ctx, m.s.number, data); err != nil {
			if ctx.Err() != nil {
				return i
			}
			m.s.fail(o.e.c.busError(err))
		}
	}
	return len(b.msgs)
}

// drain posts what the owner could not.
func (o *outbox) drain() {
	for {
		o.mu.Lock()
		if len(o.queue) == 0 || o.closed {
			o.stuck, o.bytes = false, 0
			o.queue = nil
			o.mu.Unlock()
			o.e.run(o.e.roomAgain)
			return
		}
		b := o.queue[0]
		o.queue = o.queue[1:]
		o.mu.Unlock()
		o.post(o.e.ctx, &b)
		o.mu.Lock()
		o.bytes = max(o.bytes-len(b.mem), 0)
		o.mu.Unlock()
	}
}

// close ends it; what has not left does not.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}

func (b *batch) clear() {
	clear(b.msgs)
	b.mem, b.msgs = b.mem[:0], b.msgs[:0]
}

// A pacer has a context that ends a moment after it was armed, and is used again until it has ended once: a context that has is over for good, as
// what was derived from it may look at it later.
type pacer struct{ cur *pace }

// arm returns the context. The owner of the pacer calls it, and disarm.
func (p *pacer) arm() *pace {
	if p.cur == nil || p.cur.Err() != nil {
		p.cur = &pace{done: make(chan struct{})}
	}
	p.cur.arm()
	return p.cur
}

func (p *pacer) disarm() { p.cur.disarm() }

// A pace is the context of a pacer. Its timer runs from when somebody waits for it.
type pace struct {
	done chan struct{}

	mu      sync.Mutex // guards what follows
	t       *time.Timer
	armed   bool
	ticking bool
	over    bool
}

var _ context.Context = (*pace)(nil)

func (p *pace) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

func (p *pace) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ticking {
		p.ticking = false
		p.t.Stop()
	}
	p.armed = false
}

// fire may come too late: after disarm it does nothing, and after the next arm that is over a little early.
func (p *pace) fire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed && !p.over {
		p.over = true
		close(p.done)
	}
}

func (p *pace) Deadline() (time.Time, bool) { return time.Time{}, false }
func (p *pace) Value(any) any               { return nil }

func (p *pace) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed && !p.ticking {
		p.ticking = true
		if p.t == nil {
			p.t = time.AfterFunc(patience, p.fire)
		} else {
			p.t.Reset(patience)
		}
	}
	return p.done
}

func (p *pace) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return context.DeadlineExceeded
	}
	return nil
}
