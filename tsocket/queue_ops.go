package tsocket

import (
	"context"
	"sync"
)

// Writev is Stream.Writev when its turn comes.
func (q *Queue) Writev(ctx context.Context, s *Stream, bufs ...[]byte) (int64, error) {
	if err := q.wait(ctx); err != nil {
		return 0, err
	}
	n, err := s.Writev(ctx, bufs...)
	q.done()
	return n, err
}

// WritevSend starts a Writev. bufs belong to it until it is finished. It may be
// cancelled as long as it waits; later Request.Cancel says what that means.
func (q *Queue) WritevSend(ctx context.Context, s *Stream, bufs ...[]byte) *Request[int64] {
	return queueSend(ctx, q, func(ctx context.Context) *Request[int64] { return s.WritevSend(ctx, bufs...) })
}

// ReadPDU is Stream.ReadPDU when its turn comes.
func (q *Queue) ReadPDU(ctx context.Context, s *Stream, next NextVector) (int64, error) {
	if err := q.wait(ctx); err != nil {
		return 0, err
	}
	n, err := s.ReadPDU(ctx, next)
	q.done()
	return n, err
}

// ReadPDUSend starts a ReadPDU.
func (q *Queue) ReadPDUSend(ctx context.Context, s *Stream, next NextVector) *Request[int64] {
	return queueSend(ctx, q, func(ctx context.Context) *Request[int64] { return s.ReadPDUSend(ctx, next) })
}

// SendTo is Dgram.SendTo when its turn comes.
func (q *Queue) SendTo(ctx context.Context, d *Dgram, b []byte, dst Addr) (int, error) {
	if err := q.wait(ctx); err != nil {
		return 0, err
	}
	n, err := d.SendTo(ctx, b, dst)
	q.done()
	return n, err
}

// SendToSend starts a SendTo. b belongs to it until it is finished.
func (q *Queue) SendToSend(ctx context.Context, d *Dgram, b []byte, dst Addr) *Request[int] {
	return queueSend(ctx, q, func(ctx context.Context) *Request[int] { return d.SendToSend(ctx, b, dst) })
}

// WaitSend starts a Wait: its result is what releases the queue.
func (q *Queue) WaitSend(ctx context.Context) *Request[func()] {
	return (&queuedJob[func()]{
		q: q, holds: true,
		send: func(context.Context) *Request[func()] { return finished(sync.OnceFunc(q.done), nil) },
	}).enqueue(ctx)
}

func queueSend[T any](ctx context.Context, q *Queue, send func(context.Context) *Request[T]) *Request[T] {
	return (&queuedJob[T]{q: q, send: send}).enqueue(ctx)
}

// queuedJob is a request that waits for its turn and then runs another one.
type queuedJob[T any] struct {
	q     *Queue
	e     Entry
	send  func(context.Context) *Request[T]
	holds bool // the result ends the turn, not the end of the request
}

func (j *queuedJob[T]) enqueue(ctx context.Context) *Request[T] {
	q := j.q
	r := newRequest[T](ctx, j, false)
	r.post = q.strand.post
	after := func() {
		if !j.holds || r.err != nil {
			q.done()
		}
	}
	j.e = Entry{q: q, drop: func(err error) { r.halt(err) }, start: func() {
		if !r.take() { // it was cancelled in the same moment
			q.done()
			return
		}
		r.setAfter(after)
		go r.runToEnd()
	}}
	head, err := q.enter(&j.e)
	switch {
	case err != nil:
		var zero T
		return finished(zero, err)
	case head: // no need for a request of the queue
		r = j.send(ctx)
		if r.post == nil {
			r.post = q.strand.post // nobody can have given a callback yet
		}
		r.setAfter(after)
		return r
	}
	r.watchParent()
	return r
}

func (j *queuedJob[T]) run(ctx context.Context) (T, error) {
	return j.send(ctx).Wait(context.Background())
}

// stop takes a request that waits out of the line.
func (j *queuedJob[T]) stop(cause error) (T, error) {
	j.q.remove(&j.e)
	var zero T
	return zero, &OpError{Op: "queue " + j.q.name, Err: cause}
}

func (j *queuedJob[T]) release() {}
