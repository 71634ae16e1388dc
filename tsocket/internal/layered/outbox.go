// Package layered has what streams that are built on another one share: sending
// on what was begun, and contexts that end with the stream.
package layered

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/tsocket"
)

// An Outbox holds what has to be written to the lower stream although the write
// that it belongs to was cancelled, or although it comes of a read. Who holds the pen writes.
type Outbox struct {
	s    *tsocket.Stream
	life context.Context // ends with Close
	pen  chan struct{}   // of one
	now  []byte          // is being written; belongs to who holds the pen
	kept []byte          // the memory of now
	dead atomic.Bool     // the lower stream takes no more

	mu   sync.Mutex // guards next
	next []byte
}

// NewOutbox returns an empty one for s; life ends with the upper stream.
func NewOutbox(s *tsocket.Stream, life context.Context) *Outbox {
	o := &Outbox{s: s, life: life, pen: make(chan struct{}, 1)}
	o.pen <- struct{}{}
	return o
}

// Put adds b, of which it makes a copy.
func (o *Outbox) Put(b []byte) {
	o.mu.Lock()
	o.next = append(o.next, b...)
	o.mu.Unlock()
}

// IsEmpty reports whether there is nothing but what is being written.
func (o *Outbox) IsEmpty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.next) == 0
}

// Take waits for the pen, but not longer than the stream lives.
func (o *Outbox) Take(ctx context.Context) error {
	select {
	case <-o.pen:
		return nil
	default:
	}
	select {
	case <-o.pen:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-o.life.Done():
		return tsocket.ErrClosed
	}
}

// TryTake takes the pen if it is free.
func (o *Outbox) TryTake() bool {
	select {
	case <-o.pen:
		return true
	default:
		return false
	}
}

// Give gives the pen back. What was put meanwhile is written in the background.
func (o *Outbox) Give() {
	o.pen <- struct{}{}
	o.Kick()
}

// Kick sees to it that what is in the box is written, by who holds the pen or
// by a goroutine.
func (o *Outbox) Kick() {
	if !o.dead.Load() && !o.IsEmpty() && o.TryTake() {
		o.GoOn()
	}
}

// GoOn has the holder of the pen replaced by a goroutine, which writes the rest.
func (o *Outbox) GoOn() {
	go func() {
		_ = o.Write(o.life) // the next write gets the error too
		o.Give()
	}()
}

// Write writes everything. The caller holds the pen.
func (o *Outbox) Write(ctx context.Context) error {
	for {
		if len(o.now) == 0 {
			o.mu.Lock()
			o.now, o.next = o.next, o.kept[:0]
			o.mu.Unlock()
			if o.kept = o.now[:0]; len(o.now) == 0 {
				return nil
			}
		}
		n, err := o.s.Writev(ctx, o.now)
		if o.now = o.now[n:]; err != nil {
			if ctx.Err() == nil || o.life.Err() != nil {
				o.dead.Store(true)
			}
			return err
		}
	}
}

// Flush writes everything, and leaves what it cannot to the background.
func (o *Outbox) Flush(ctx context.Context) error {
	if err := o.Take(ctx); err != nil {
		return err
	}
	return o.Finish(ctx)
}

// Finish is Flush for who holds the pen, which is given back.
func (o *Outbox) Finish(ctx context.Context) error {
	err := o.Write(ctx)
	if err != nil && ctx.Err() != nil && o.life.Err() == nil {
		o.GoOn()
		return err
	}
	o.Give()
	return err
}

// FlushNow is Flush that leaves nothing to the background: nobody else writes.
func (o *Outbox) FlushNow(ctx context.Context) error {
	<-o.pen
	err := o.Write(ctx)
	o.pen <- struct{}{}
	return err
}

// IsDead reports whether the lower stream takes no more.
func (o *Outbox) IsDead() bool { return o.dead.Load() }

// WriteNow writes once with try, which does not wait, and forgets the rest. The
// caller holds the pen, and keeps it.
func (o *Outbox) WriteNow(try func(bufs [][]byte) (int, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.now) == 0 && len(o.next) > 0 {
		_, _ = try([][]byte{o.next})
	}
}
