package tsocket

import (
	"context"
	"slices"
	"sync"
)

// Queue makes operations run one after the other, in the order in which they
// were queued, so that none fails with ErrBusy. It knows nothing of sockets: those of
// several may share one, and one socket usually has one for each direction. An operation that
// fails does not stop the queue.
//
// The head of the queue is the operation that runs. Its successor starts when it is
// finished and its callbacks have returned; callbacks of a queue's requests run one at
// a time, in order. What waits can be cancelled without a trace.
type Queue struct {
	name string

	mu      sync.Mutex // guards the fields below; nothing is called under it
	busy    bool       // there is a head
	stopped bool
	closed  bool
	waiting []*Entry

	strand strand // of the callbacks
}

// Entry is a place in a queue.
type Entry struct {
	q     *Queue
	start func()      // called when the entry becomes the head
	drop  func(error) // called instead when the queue is closed
	head  bool        // guarded by the queue's mutex
	gone  bool
}

// NewQueue returns a queue that runs. The name is for who debugs.
func NewQueue(name string) *Queue { return &Queue{name: name} }

// Name returns the name.
func (q *Queue) Name() string { return q.name }

// Len returns how many operations are in the queue, with the one that runs.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.waiting)
	if q.busy {
		n++
	}
	return n
}

// Running reports whether the queue is not stopped.
func (q *Queue) Running() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.stopped
}

// Stop lets nothing start any more. What runs goes on.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
}

// Start lets the queue run again.
func (q *Queue) Start() {
	q.mu.Lock()
	q.stopped = false
	q.mu.Unlock()
	q.advance()
}

// Close has everything that waits fail with ErrClosed, and so does whatever
// comes later. What runs goes on to its end. (In C what waits is never heard of again.)
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	waiting := q.waiting
	q.waiting = nil
	for _, e := range waiting {
		e.gone = true
	}
	q.mu.Unlock()
	for _, e := range waiting {
		e.drop(ErrClosed)
	}
	return nil
}

// advance starts the next operation, if it can start.
func (q *Queue) advance() {
	q.mu.Lock()
	if q.busy || q.stopped || len(q.waiting) == 0 {
		q.mu.Unlock()
		return
	}
	e := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	q.busy, e.head = true, true
	q.mu.Unlock()
	e.start()
}

// done ends the head.
func (q *Queue) done() {
	q.mu.Lock()
	q.busy = false
	q.mu.Unlock()
	q.advance()
}

// enter makes the caller the head if nothing is before him; otherwise it puts e
// in line.
func (q *Queue) enter(e *Entry) (head bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return false, &OpError{Op: "queue " + q.name, Err: ErrClosed}
	case !q.busy && !q.stopped && len(q.waiting) == 0:
		q.busy = true
		if e != nil {
			e.head = true
		}
		return true, nil
	case e != nil:
		q.waiting = append(q.waiting, e)
	}
	return false, nil
}

// remove takes e out of the line; false if it is not in it.
func (q *Queue) remove(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, e)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	e.gone = true
	return true
}

// Add puts an entry in line. When it becomes the head, trigger is called on a
// goroutine of its own, or nothing if it is nil: the entry only holds the queue up. It stays the head
// until Remove. ErrClosed after Close; an entry that waits when the queue is closed is never
// triggered.
func (q *Queue) Add(trigger func(*Entry)) (*Entry, error) {
	e := &Entry{q: q, drop: func(error) {}}
	e.start = func() {
		if trigger != nil {
			go trigger(e)
		}
	}
	head, err := q.enter(e)
	if err != nil {
		return nil, err
	}
	if head {
		e.start()
	}
	return e, nil
}

// Remove takes the entry out of the queue, wherever it is. If it was the head,
// the next one starts. Further calls do nothing.
func (e *Entry) Remove() {
	q := e.q
	if q.remove(e) {
		return
	}
	q.mu.Lock()
	was := e.head && !e.gone
	e.gone = true
	q.mu.Unlock()
	if was {
		q.done()
	}
}

// Do runs fn when its turn comes, on the caller's goroutine, and returns what it
// returned. The end of ctx takes it out of the line: ErrCanceled or ErrTimeout; ErrClosed when
// the queue is closed.
func (q *Queue) Do(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := q.wait(ctx); err != nil {
		return err
	}
	defer q.done()
	return fn(ctx)
}

// Wait waits for its turn and then holds the queue until release is called.
func (q *Queue) Wait(ctx context.Context) (release func(), err error) {
	if err := q.wait(ctx); err != nil {
		return nil, err
	}
	return sync.OnceFunc(q.done), nil
}

// wait makes the caller the head.
func (q *Queue) wait(ctx context.Context) error {
	if head, err := q.enter(nil); head || err != nil { // without an entry, usually
		return err
	}
	turn := make(chan error, 1)
	e := &Entry{q: q}
	e.start = func() { turn <- nil }
	e.drop = func(err error) { turn <- err }
	head, err := q.enter(e)
	if head || err != nil {
		return err
	}
	// Whoever was before it may have gone since the first look: then it is
	// the head of the line, and advance has told.
	select {
	case err = <-turn:
	case <-ctx.Done():
		if q.remove(e) {
			return &OpError{Op: "queue " + q.name, Err: ctxError(ctx)}
		}
		if err = <-turn; err == nil { // its turn came in the same moment
			q.done()
			err = ctxError(ctx)
		}
	}
	if err != nil {
		err = &OpError{Op: "queue " + q.name, Err: err}
	}
	return err
}
