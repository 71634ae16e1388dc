package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// Endpoint is a connection of its own to the broker. It has no goroutine that
// reads: Recv, and Call, Send and whoever else waits, read in the caller's.
//
// It implements connector.Endpoint and connector.HistoryEndpoint.
type Endpoint struct {
	bus  *Bus
	cfg  *Config
	port atomic.Uint32

	sender
	reading atomic.Pointer[link] // side.cur, for who asks the broker for something
	lookout lookout              // ends the read of whoever reads
	pend    pending

	// Whoever holds token reads the connection, and owns side.
	token atomic.Bool
	side  side
	nwait atomic.Int32
	wmu   sync.Mutex // guards queue
	queue []*waiter  // those who would read if they could, oldest first

	recvW  waiter      // of the one in Recv
	inRecv atomic.Bool // somebody sleeps on recvW

	gmu    sync.Mutex // guards groups against Epoch; only the token's holder changes it
	groups map[uint32]*membership

	hmu  sync.Mutex  // orders Hold and Resume
	held atomic.Bool // the broker was asked to hold this port's messages

	unread atomic.Int64 // bytes sent since the connection was last read
	closed atomic.Bool
	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	gone   chan struct{} // Close is done
}

// side is the reading side of an endpoint.
type side struct {
	cur   *link // that is read; not yet in link while memberships are restored
	buf   readBuf
	arm   ctxArm
	final error       // the connection broke and is not to be made again
	last  *membership // of the last message with a position
	// A joined group keeps a history, or did.
	positions bool

	// While the connection is down.
	tries   int
	next    time.Time // of the next attempt
	restore int       // answers to Join that are missing
	early   pending   // what came before the last of them
	unknown []uint32
	ports   []uint32 // that this endpoint had in the same run of the broker
	run     uint64
}

// membership is a group that the endpoint is in, and how far it has read.
type membership struct {
	group uint32
	epoch uint64 // 0: no history
	pos   uint64
	asked bool // for the epoch
}

// readAhead is how much is sent before a look is taken at what came, so that a
// sender that never receives still sees Stop.
const readAhead = 64 << 10

// openEndpoint opens a connection for an endpoint.
func openEndpoint(ctx context.Context, b *Bus) (*Endpoint, error) {
	l, err := dialLink(ctx, b.cfg)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		bus: b, cfg: b.cfg, gone: make(chan struct{}), recvW: waiter{make(chan struct{}, 1)},
		groups: make(map[uint32]*membership),
	}
	e.waits, e.pool = e, &b.pool
	e.lookout.renew()
	e.calls.g = connector.NewGenealogy(nil)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.adopt(l)
	e.publish()
	return e, nil
}

// adopt makes l the link that is read. The caller holds token.
func (e *Endpoint) adopt(l *link) {
	l.w.onRoom = e.look
	l.w.onFail = l.halt
	if l.run != e.side.run {
		e.side.run, e.side.ports = l.run, nil
	}
	e.side.cur = l
	e.side.buf.reset()
	e.hmu.Lock()
	e.held.Store(false)
	e.reading.Store(l)
	e.hmu.Unlock()
}

// publish lets senders use the link that is read.
func (e *Endpoint) publish() {
	l := e.side.cur
	e.port.Store(l.port)
	e.side.ports = append(e.side.ports, l.port)
	if n := len(e.side.ports); n > 8 {
		e.side.ports = e.side.ports[n-8:]
	}
	e.side.tries = 0
	e.link.Store(l)
}

// Port is the endpoint's port id. After a reconnection it is another.
func (e *Endpoint) Port() uint32 { return e.port.Load() }

// look makes everybody who waits look again, whoever reads included.
func (e *Endpoint) look() {
	e.gen.Add(1)
	e.wakeAll()
	e.lookout.wake()
}

// wakeAll wakes those who wait without reading.
func (e *Endpoint) wakeAll() {
	if e.nwait.Load() == 0 {
		return
	}
	e.wmu.Lock()
	all := e.queue
	e.queue = nil
	e.nwait.Store(0)
	e.wmu.Unlock()
	for _, w := range all {
		w.wake()
	}
}

// release gives the reading side to whoever waits for it.
func (e *Endpoint) release() {
	e.token.Store(false)
	e.passOn()
}

// passOn wakes the oldest who would read. One who was woken and has no more
// reason to read calls it as well.
func (e *Endpoint) passOn() {
	if e.nwait.Load() == 0 {
		return
	}
	var w *waiter
	e.wmu.Lock()
	if len(e.queue) > 0 {
		w = e.queue[0]
		e.queue = append(e.queue[:0], e.queue[1:]...)
		e.nwait.Store(int32(len(e.queue)))
	}
	e.wmu.Unlock()
	if w != nil {
		w.wake()
	}
}

func (e *Endpoint) enqueue(w *waiter) {
	e.wmu.Lock()
	e.queue = append(e.queue, w)
	e.nwait.Store(int32(len(e.queue)))
	e.wmu.Unlock()
}

func (e *Endpoint) dequeue(w *waiter) {
	e.wmu.Lock()
	for i, x := range e.queue {
		if x == w {
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			break
		}
	}
	e.nwait.Store(int32(len(e.queue)))
	e.wmu.Unlock()
}

// step waits until there may be news for w, whose owner has looked when gen was
// as given: it reads once if nobody else does, otherwise it sleeps until w is woken.
// The owner calls it in a loop, and passOn after the last time.
func (e *Endpoint) step(ctx context.Context, w *waiter, gen uint64) error {
	if err := e.check(ctx); err != nil {
		return err
	}
	if !e.token.CompareAndSwap(false, true) {
		e.enqueue(w)
		// The reading side may have become free before w was in the queue.
		if !e.token.CompareAndSwap(false, true) {
			var err error
			if e.gen.Load() == gen {
				select {
				case <-w.ch:
				case <-ctx.Done():
					err = ctx.Err()
				case <-e.ctx.Done():
					err = connector.ErrClosed
				}
			}
			e.dequeue(w)
			return err
		}
		e.dequeue(w)
	}
	defer e.release()
	// Who read before may have had something for w alone, of which gen says nothing.
	select {
	case <-w.ch:
		return nil
	default:
	}
	if e.gen.Load() != gen || e.closed.Load() {
		return nil
	}
	return e.advance(ctx, false)
}

// check is what every operation asks before it waits.
func (e *Endpoint) check(ctx context.Context) error {
	if e.closed.Load() {
		return connector.ErrClosed
	}
	return ctx.Err()
}

// advance makes progress on the reading side, whose holder calls it: it handles what is
// in the buffer, or reads, or goes on reconnecting. With one it handles no
// frame: it only sees to it that there is one, which is for Recv.
func (e *Endpoint) advance(ctx context.Context, one bool) error {
	s := &e.side
	if s.final != nil {
		return s.final
	}
	if s.cur == nil {
		return e.redial(ctx)
	}
	if !s.buf.whole() {
		if err := e.fill(ctx); err != nil {
			return err
		}
	}
	if one && s.restore == 0 {
		return nil
	}
	return e.drain()
}

// fill reads once. A broken connection is no error of fill.
func (e *Endpoint) fill(ctx context.Context) error {
	s := &e.side
	s.arm.arm(ctx, &e.lookout)
	// Whoever was woken in place of this one has renewed the lookout.
	if err := e.check(ctx); err != nil {
		return err
	}
	n, err := s.cur.s.ReadSome(e.lookout.context(), s.buf.room())
	e.unread.Store(0)
	switch {
	case err == nil:
		s.buf.filled(n)
	case errors.Is(err, context.Canceled):
		// First renew, then look: whose context ends after the look wakes
		// the reader again.
		e.lookout.renew()
		return e.check(ctx)
	default:
		e.broke(err)
	}
	return nil
}

// drain handles the frames in the buffer for everybody.
func (e *Endpoint) drain() error {
	for e.side.cur != nil {
		h, body, ok, err := e.side.buf.next()
		if err == nil && ok {
			err = e.store(&h, body)
		}
		if err != nil {
			e.broke(err)
			break
		}
		if !ok {
			break
		}
	}
	return e.side.final
}
