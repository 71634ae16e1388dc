package client

import (
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// op is a request under way: it waits for an Ack or, a call, for a reply.
type op struct {
	waiter
	home *opPool
	done atomic.Bool // what follows is final

	kind   opKind
	tag    uint32
	group  uint32
	id     cbid.ID
	at     connector.Position
	useAt  bool
	onDone func(*op) // runs in the reader, in order with the stream
	left   bool      // its caller went away; only onDone wants the answer

	pos    uint64
	epoch  uint64
	err    error // a refusal, or what broke the connection
	broken bool  // the connection ended first
	json   []byte
	ev     connector.Event
	call   connector.Call
	nth    atomic.Uint64 // number of a call's frame on its connection; 0: not sent yet
}

type opKind uint8

const (
	opSend opKind = iota
	opCall
	opJoin
	opLeave
	opAdd
	opDel
	opHistory
	opPing
	opFollow
)

// waiter is somebody asleep until he should look again. A wake-up too many does
// no harm.
type waiter struct{ ch chan struct{} }

func (w *waiter) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// opPool are the requests of a Bus that are over. Each Bus has its own, for their
// channels belong to the synctest bubble that it was made in, if any.
type opPool struct{ free sync.Pool }

func (p *opPool) newOp(kind opKind) *op {
	o, _ := p.free.Get().(*op)
	if o == nil {
		o = &op{home: p, waiter: waiter{make(chan struct{}, 1)}}
	}
	o.kind = kind
	return o
}

// free gives o back; it must be in no table and in no list.
func (o *op) free() {
	select {
	case <-o.ch:
	default:
	}
	o.done.Store(false)
	o.kind, o.tag, o.group, o.id, o.at, o.useAt, o.onDone, o.left = 0, 0, 0, cbid.ID{}, connector.Position{}, false, nil, false
	o.pos, o.epoch, o.err, o.broken, o.json = 0, 0, nil, false, nil
	o.ev, o.call = connector.Event{}, connector.Call{}
	o.nth.Store(0)
	o.home.free.Put(o)
}

// renew makes o as good as new for another try; it was broken.
func (o *op) renew() {
	o.done.Store(false)
	o.err, o.broken = nil, false
	o.nth.Store(0)
}

// opTable holds the requests that an Ack ends, by tag.
type opTable struct {
	mu   sync.Mutex
	next uint32
	m    map[uint32]*op
}

func (t *opTable) add(o *op) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[uint32]*op)
	}
	for {
		t.next++
		if _, taken := t.m[t.next]; !taken && t.next != 0 {
			break
		}
	}
	o.tag = t.next
	t.m[o.tag] = o
}

// drop takes o out because its caller does not wait any more. It returns false
// when o was done first.
func (t *opTable) drop(o *op) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[o.tag] != o {
		return false
	}
	delete(t.m, o.tag)
	return true
}

// leave is drop for a request whose effect must still be noted: o stays, and
// must not be touched again.
func (t *opTable) leave(o *op) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m[o.tag] != o {
		return false
	}
	o.left = true
	return true
}

// ack finishes the request that the frame answers. A frame for none is one for a
// request that was given up.
func (t *opTable) ack(h *frame.Header, body []byte) error {
	t.mu.Lock()
	o := t.m[h.Tag]
	if o == nil {
		t.mu.Unlock()
		return nil
	}
	var err error
	if h.Code == 0 && o.kind == opJoin {
		err = frame.ParseU64s(body, &o.epoch)
		o.pos = h.Pos
	}
	if err != nil {
		t.mu.Unlock()
		return violation("answer to Join: %v", err)
	}
	delete(t.m, h.Tag)
	o.err = refusal(h.Code, body)
	t.mu.Unlock()
	o.finish()
	return nil
}

// finish runs what is to be done in the reader and wakes the caller. o is in no
// table any more; with onDone its caller waits for done even when it gives up.
func (o *op) finish() {
	left := o.left
	if o.onDone != nil {
		o.onDone(o)
	}
	o.done.Store(true)
	if !left {
		o.wake()
	}
}

// waitDone waits for who has taken o out of its table and is about to finish it.
func (o *op) waitDone() {
	for !o.done.Load() {
		<-o.ch
	}
}

// dropper is a table that a request is taken out of by a caller that gives up;
// false when the request was done first.
type dropper interface{ drop(*op) bool }

// leaver drops requests whose effect must still be noted.
type leaver struct{ *opTable }

func (t leaver) drop(o *op) bool { return t.leave(o) }

// breakAll ends every request: the connection broke.
func (t *opTable) breakAll(cause error) {
	t.mu.Lock()
	all := make([]*op, 0, len(t.m))
	for _, o := range t.m {
		all = append(all, o)
	}
	clear(t.m)
	t.mu.Unlock()
	for _, o := range all {
		o.err, o.broken = cause, true
		o.finish()
	}
}
