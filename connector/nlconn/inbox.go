package nlconn

import (
	"context"
	"sync"

	"github.com/cnbus/cnbus/connector"
)

// inbox is the receive queue of an endpoint: the reader of the socket fills one
// half while Recv empties the other, so that nothing is allocated once both have grown.
type inbox struct {
	limit int

	mu     sync.Mutex // guards what follows
	fill   half
	calls  int // outstanding calls: the reader must go on to find their replies
	missed uint64
	err    error
	filled chan struct{} // capacity 1
	room   chan struct{} // capacity 1

	// These belong to Recv.
	drain half
	next  int
}

// half is a sequence of events with the data of their messages.
type half struct {
	events []connector.Event
	spans  []span
	data   []byte
}

type span struct{ from, to int }

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, filled: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// calling counts the outstanding calls up or down.
func (b *inbox) calling(n int) {
	b.mu.Lock()
	b.calls += n
	b.mu.Unlock()
	wake(b.room)
}

// full reports whether the reader must wait: there is no room, and no call whose reply
// might be behind; or there is far too much.
func (b *inbox) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size() >= b.limit && b.calls == 0 || b.size() >= 4*b.limit
}

// size counts each event with its headers. b.mu is held.
func (b *inbox) size() int { return len(b.fill.data) + connector.HeaderLen*len(b.fill.events) }

// put appends an event. A group message beyond the limit, which was read only in
// search of a reply, is dropped and counted, as the kernel would have done.
func (b *inbox) put(ev *connector.Event) {
	b.mu.Lock()
	if ev.From.Group != 0 && ev.Kind == connector.EventMessage && b.size() >= b.limit {
		b.missed++
	} else {
		b.miss()
		b.add(ev)
	}
	b.mu.Unlock()
	wake(b.filled)
}

func (b *inbox) add(ev *connector.Event) {
	at := len(b.fill.data)
	b.fill.data = append(b.fill.data, ev.Msg.Data...)
	b.fill.spans = append(b.fill.spans, span{at, len(b.fill.data)})
	e := *ev
	e.Msg.Data = nil
	b.fill.events = append(b.fill.events, e)
}

// miss tells of what put dropped. b.mu is held.
func (b *inbox) miss() {
	if b.missed > 0 {
		b.add(&connector.Event{Kind: connector.EventLost, Lost: b.missed})
		b.missed = 0
	}
}

// fail ends the inbox: pop returns err when it is empty.
func (b *inbox) fail(err error) {
	b.mu.Lock()
	if b.err == nil {
		b.err = err
	}
	b.mu.Unlock()
	wake(b.filled)
}

// pop returns the next event. Its data are valid until the next call.
func (b *inbox) pop(ctx context.Context, closed <-chan struct{}) (connector.Event, error) {
	for {
		if b.next < len(b.drain.events) {
			ev := b.drain.events[b.next]
			if s := b.drain.spans[b.next]; ev.Kind == connector.EventMessage {
				ev.Msg.Data = b.drain.data[s.from:s.to:s.to]
			}
			b.next++
			return ev, nil
		}
		b.mu.Lock()
		b.miss()
		old := half{b.drain.events[:0], b.drain.spans[:0], b.drain.data[:0]}
		b.drain, b.fill = b.fill, old
		err := b.err
		b.mu.Unlock()
		b.next = 0
		wake(b.room)
		if len(b.drain.events) > 0 {
			continue
		}
		if err != nil {
			return connector.Event{}, err
		}
		select {
		case <-b.filled:
		case <-closed:
			return connector.Event{}, connector.ErrClosed
		case <-ctx.Done():
			return connector.Event{}, ctx.Err()
		}
	}
}
