package client

import (
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// pending holds, in order, the events that were read while nobody was in Recv:
// frames as they came, and the endpoint's own events. Whoever reads the connection
// appends; Recv takes.
type pending struct {
	n atomic.Int64 // events, so that Recv sees without a lock that there are none

	mu    sync.Mutex
	in    []byte // appended to
	bytes int    // in in and out
	own   []connector.Event
	gap   int // where in in the Lost frame is that ends it, plus 1; 0: none does

	// Recv's: taken whole from in, and lent until it is used up and Recv
	// called again.
	out []byte
	off int
}

// typeOwn marks, where a frame would be, the next of own.
const typeOwn frame.Type = 0

// push copies a frame; bytes is how much waits then.
func (p *pending) push(h *frame.Header, body []byte) (bytes int) {
	p.mu.Lock()
	p.pushLocked(h, body)
	bytes = p.bytes
	p.mu.Unlock()
	p.n.Add(1)
	return bytes
}

func (p *pending) pushLocked(h *frame.Header, body []byte) {
	at := len(p.in)
	p.in = append(p.in, zeroHeader[:]...)
	h.Put(p.in[at:])
	p.in = append(p.in, body...)
	p.bytes += int(h.Len)
	p.gap = 0
}

// drop counts a unicast message that is not kept, in the Lost frame at its place.
func (p *pending) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.gap - 1; at >= 0 {
		h, _, _ := frame.Parse(p.in[at:])
		h.Pos++
		h.Put(p.in[at:])
		return
	}
	at := len(p.in)
	p.pushLocked(&frame.Header{Len: frame.HeaderLen, Type: frame.Lost, Pos: 1}, nil)
	p.gap = at + 1
	p.n.Add(1)
}

// pushEvent appends an event that is no frame.
func (p *pending) pushEvent(ev connector.Event) {
	h := frame.Header{Len: frame.HeaderLen, Type: typeOwn}
	p.mu.Lock()
	p.own = append(p.own, ev)
	p.pushLocked(&h, nil)
	p.mu.Unlock()
	p.n.Add(1)
}

// moveTo appends all of p to q and empties p.
func (p *pending) moveTo(q *pending) {
	p.mu.Lock()
	in, own, bytes, n := p.in, p.own, p.bytes, p.n.Load()
	p.in, p.own, p.bytes, p.gap = nil, nil, 0, 0
	p.n.Store(0)
	p.mu.Unlock()
	q.mu.Lock()
	q.in = append(q.in, in...)
	q.own = append(q.own, own...)
	q.bytes += bytes
	q.gap = 0
	q.mu.Unlock()
	q.n.Add(n)
}

// size returns how many bytes wait.
func (p *pending) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// pop takes the first event; left is how many bytes wait still. The body is
// valid until the next pop. Of an own event, ev is set and h.Type is typeOwn.
func (p *pending) pop() (h frame.Header, body []byte, ev connector.Event, left int) {
	if p.off == len(p.out) {
		p.mu.Lock()
		p.out, p.in = p.in, p.out[:0]
		p.gap = 0
		if cap(p.in) > keepBuf {
			p.in = nil
		}
		p.mu.Unlock()
		p.off = 0
	}
	h, body, _ = frame.Parse(p.out[p.off:])
	p.off += int(h.Len)
	p.n.Add(-1)
	p.mu.Lock()
	if h.Type == typeOwn {
		ev = p.own[0]
		p.own[0] = connector.Event{}
		if p.own = p.own[1:]; len(p.own) == 0 {
			p.own = nil
		}
	}
	p.bytes -= int(h.Len)
	left = p.bytes
	p.mu.Unlock()
	return h, body, ev, left
}
