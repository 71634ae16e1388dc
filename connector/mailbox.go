package connector

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// mailbox holds what waits for a busy callback, in order. A nil one is empty.
type mailbox struct {
	items    []item
	buf      []byte // data of the items that were copied
	messages int
	bytes    int // of data, whoever owns them
}

type item struct {
	d        Delivery
	release  func() // gives borrowed data back; nil when they are in buf
	interest int8   // not 0: no message but Interest, 1 somebody, -1 nobody
}

// boxes keeps mailboxes that are not in use, whose memory busy ids share.
var boxes = sync.Pool{New: func() any { return new(mailbox) }}

func (b *mailbox) len() int {
	if b == nil {
		return 0
	}
	return b.messages
}

func (b *mailbox) copy(d *Delivery) {
	// When buf grows, the data of earlier items stay where they are.
	from := len(b.buf)
	b.buf = append(b.buf, d.Msg.Data...)
	b.lend(d, nil)
	b.items[len(b.items)-1].d.Msg.Data = b.buf[from:len(b.buf):len(b.buf)]
}

func (b *mailbox) lend(d *Delivery, release func()) {
	b.items = append(b.items, item{d: *d, release: release})
	b.messages++
	b.bytes += len(d.Msg.Data)
}

func (b *mailbox) setInterest(to int8) {
	if n := len(b.items); n > 0 && b.items[n-1].interest != 0 {
		b.items[n-1].interest = to // nobody needs the one between: it keeps the mailbox bounded
		return
	}
	b.items = append(b.items, item{interest: to})
}

func (b *mailbox) recycle() {
	if cap(b.buf) > defaultQueueBytes || cap(b.items) > 2*defaultQueue {
		return
	}
	clear(b.items)
	*b = mailbox{items: b.items[:0], buf: b.buf[:0]}
	boxes.Put(b)
}

// push returns the mailbox to put something in, mu held.
func (e *Entry) push() *mailbox {
	if e.box == nil {
		e.box = boxes.Get().(*mailbox)
	}
	return e.box
}

// full reports whether the mailbox takes no more, mu held.
func (e *Entry) full() bool {
	return e.box != nil && (e.box.messages >= e.r.config.Queue || e.box.bytes >= e.r.config.QueueBytes)
}

// waiter is a sender for whose message the mailbox has no room yet. The runner puts it in and
// so keeps the order in which senders came.
type waiter struct {
	d    Delivery
	done chan error
}

func (e *Entry) wait(ctx context.Context, w *waiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	e.mu.Lock()
	at := slices.Index(e.waiters, w)
	if at >= 0 {
		e.waiters = slices.Delete(e.waiters, at, at+1)
	}
	e.mu.Unlock()
	if at < 0 {
		return <-w.done // it was taken (or refused) just now
	}
	return e.sendError(fmt.Errorf("%d messages are waiting: %w", e.r.config.Queue, ctx.Err()))
}

// Queued says how Enqueue left the mailbox.
type Queued struct {
	// Start is true when the caller must see to it that Run is called, on
	// whichever goroutine.
	Start bool
	// Full is true when the mailbox is now beyond its bounds: the caller should keep its
	// sender from sending more until RegistryConfig.Room is called.
	Full bool
}

// Enqueue puts d in the mailbox without running it, for a reader that must not
// be held up by callbacks. It takes d even when the mailbox is full, because what has been
// received cannot be refused any more; to act on Queued.Full is what bounds it.
//
// With a nil release the data are copied; otherwise they are borrowed until release is
// called, when the handler has returned. It fails with ErrNoID when e is being removed,
// and then has not taken d.
func (e *Entry) Enqueue(d *Delivery, release func()) (Queued, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	start, ok := e.begin()
	if !ok {
		return Queued{}, &OpError{Op: "deliver", ID: e.info.ID, HasID: true, Port: d.From.Port, Err: ErrNoID}
	}
	if release == nil {
		e.push().copy(d)
	} else {
		e.push().lend(d, release)
	}
	full := e.full()
	if full && e.r.config.Room != nil {
		e.wantRoom = true
	}
	return Queued{Start: start, Full: full}, nil
}

// EnqueueInterest is Enqueue for the InterestHandler's Interest. It does nothing
// for a handler that has none, and for what the handler was told last.
func (e *Entry) EnqueueInterest(listening bool) (start bool) {
	if e.interest == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	start, ok := e.begin()
	if ok {
		e.push().setInterest(interestOf(listening))
	}
	return start
}

func interestOf(listening bool) int8 {
	if listening {
		return 1
	}
	return -1
}

// Interest tells an InterestHandler whether anybody listens, now or after the messages before
// it. It does not wait.
func (e *Entry) Interest(listening bool) {
	if e.EnqueueInterest(listening) {
		e.loop(true)
	}
}

// Run handles what is in the mailbox until it is empty. It must be called once,
// on any goroutine, for each Enqueue that returned Start, and never otherwise.
func (e *Entry) Run() { e.loop(false) }

// drain waits until the callback of a removed entry has run for the last time.
func (e *Entry) drain(ctx context.Context) error {
	select {
	case <-e.drained:
		return nil
	case <-ctx.Done():
		return &OpError{
			Op: "delete callback", ID: e.info.ID, HasID: true,
			Err: fmt.Errorf("it is removed, but still running: %w", ctx.Err()),
		}
	}
}
