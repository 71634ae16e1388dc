package tlsstream

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/tsocket"
)

// An outbox holds what is enciphered and not yet written to the plain stream:
// by Writev, and by reads, which answer key updates. Who holds the pen writes.
type outbox struct {
	s    *tsocket.Stream
	life context.Context // ends with Close
	pen  chan struct{}   // of one
	now  []byte          // is being written; belongs to who holds the pen
	kept []byte          // the memory of now
	dead atomic.Bool     // the plain stream takes no more

	mu   sync.Mutex // guards next
	next []byte
}

func newOutbox(s *tsocket.Stream, life context.Context) *outbox {
	o := &outbox{s: s, life: life, pen: make(chan struct{}, 1)}
	o.pen <- struct{}{}
	return o
}

func (o *outbox) put(b []byte) {
	o.mu.Lock()
	o.next = append(o.next, b...)
	o.mu.Unlock()
}

func (o *outbox) isEmpty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.next) == 0
}

// take waits for the pen.
func (o *outbox) take(ctx context.Context) error {
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
	}
}

func (o *outbox) tryTake() bool {
	select {
	case <-o.pen:
		return true
	default:
		return false
	}
}

// give gives the pen back. What was put meanwhile is written in the background.
func (o *outbox) give() {
	o.pen <- struct{}{}
	o.kick()
}

// kick sees to it that what is in the box is written, by who holds the pen or
// by a goroutine.
func (o *outbox) kick() {
	if !o.dead.Load() && !o.isEmpty() && o.tryTake() {
		o.goOn()
	}
}

// goOn has the holder of the pen replaced by a goroutine, which writes the rest.
func (o *outbox) goOn() {
	go func() {
		_ = o.write(o.life) // the next write gets the error too
		o.give()
	}()
}

// write writes everything. The caller holds the pen.
func (o *outbox) write(ctx context.Context) error {
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

// flush writes everything, and leaves what it cannot to the background.
func (o *outbox) flush(ctx context.Context) error {
	if err := o.take(ctx); err != nil {
		return err
	}
	return o.finish(ctx)
}

// finish is flush for who holds the pen, which is given back.
func (o *outbox) finish(ctx context.Context) error {
	err := o.write(ctx)
	if err != nil && ctx.Err() != nil && o.life.Err() == nil {
		o.goOn()
		return err
	}
	o.give()
	return err
}

// flushNow is flush that leaves nothing to the background: nobody else writes.
func (o *outbox) flushNow(ctx context.Context) error {
	<-o.pen
	err := o.write(ctx)
	o.pen <- struct{}{}
	return err
}
