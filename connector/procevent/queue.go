package procevent

import (
	"context"
	"sync"

	"github.com/cnbus/cnbus/connector"
)

// queue hands events from the reader of the socket to Recv, a batch at a time:
// the reader fills one slice while the other is drained, so that nothing
// is allocated once both have grown.
type queue struct {
	max int

	mu     sync.Mutex // guards fill, err, waits
	fill   []Event
	err    error         // the end, after what is in fill
	filled chan struct{} // capacity 1: fill or err changed
	room   chan struct{} // capacity 1: fill was taken
	stop   chan struct{} // closed by close

	// drain and next belong to the one caller of pop.
	drain []Event
	next  int
}

func newQueue(limit int) *queue {
	return &queue{max: limit, filled: make(chan struct{}, 1), room: make(chan struct{}, 1), stop: make(chan struct{})}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// push appends events and then waits until there are fewer than max. It has
// one caller, the reader, and returns false when the queue was closed.
func (q *queue) push(events []Event) bool {
	if len(events) == 0 {
		return true
	}
	for full := q.put(events); full; full = q.full() {
		select {
		case <-q.room:
		case <-q.stop:
			return false
		}
	}
	return true
}

// put appends events without waiting and reports whether the queue is full.
func (q *queue) put(events []Event) bool {
	q.mu.Lock()
	q.fill = append(q.fill, events...)
	full := len(q.fill) >= q.max
	q.mu.Unlock()
	wake(q.filled)
	return full
}

// full reports whether push would wait.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.fill) >= q.max
}

// fail ends the queue: pop returns err when it has drained it.
func (q *queue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	wake(q.filled)
}

// close ends the queue at once.
func (q *queue) close() { close(q.stop) }

// pop returns the next event; it has one caller at a time. The pointer is valid until the next
// call.
func (q *queue) pop(ctx context.Context) (*Event, error) {
	for {
		if q.next < len(q.drain) {
			e := &q.drain[q.next]
			q.next++
			return e, nil
		}
		q.mu.Lock()
		q.drain, q.fill = q.fill, q.drain[:0]
		err := q.err
		q.mu.Unlock()
		q.next = 0
		wake(q.room)
		if len(q.drain) > 0 {
			continue
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-q.filled:
		case <-q.stop:
			return nil, connector.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
