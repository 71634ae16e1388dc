package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// loop runs the hub on a tsocket.Loop: one goroutine, one epoll. It reads what
// clients sent, lets the hub handle it, and writes what came of it, many
// messages per system call in each direction.
type loop struct {
	hub  *hub
	log  *slog.Logger
	sock *tsocket.Loop

	listeners []*listener
	starved   bool // accepting is stopped until a client leaves, or feeder goes off
	hungry    bool // and it has not worked since
	feeder    *tsocket.LoopTimer
	waiting   []*conn // have not said Hello, or not read their Bye
	joined    bool    // somebody since the last tick
	greeting  bool    // somebody had not said Hello at the last tick
	clock     *tsocket.LoopTimer
	rbuf      []byte
	handled   int // bytes in this turn since the last flush
	draining  bool
	drainEnd  int64
	over      atomic.Bool // it ends, or has
}

type listener struct {
	*tsocket.Listener
	watch *tsocket.Watch
}

const (
	// acceptAgain is when accepting is tried again that has failed.
	acceptAgain = 200 * time.Millisecond

	readMax   = 64 << 10 // bytes read from one client in its turn
	carryMax  = 32 << 10 // room before them for a frame that was not complete
	flushEach = 256 << 10

	// lookMax is how long the loop looks for work before it sleeps, while that
	// pays: to be woken costs a client a good part of its round trip.
	lookMax = 20 * time.Microsecond
)

func newLoop(h *hub, log *slog.Logger) (*loop, error) {
	l := &loop{hub: h, log: log, rbuf: make([]byte, carryMax+readMax)}
	var err error
	l.sock, err = tsocket.NewLoop(&tsocket.LoopConfig{Look: lookMax, BeginTurn: l.beginTurn, EndTurn: l.endTurn})
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return l, nil
}

// post runs f on the loop. It returns false when the loop has ended.
func (l *loop) post(f func()) bool { return l.sock.Post(f) }

// do runs f on the loop and waits for it.
func (l *loop) do(ctx context.Context, f func()) error {
	err := l.sock.Do(ctx, f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tsocket.ErrClosed):
		return connector.ErrClosed
	}
	return ctx.Err()
}

func now() int64 { return time.Now().UnixNano() }

// run is the loop. It returns when stop was posted and everything is written,
// or when the system refuses to wait.
func (l *loop) run() error {
	defer l.end()
	if err := l.sock.Run(context.Background()); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

func (l *loop) beginTurn() {
	l.hub.now = now()
	l.handled = 0
}

func (l *loop) endTurn() {
	l.flush()
	// A loop with nothing due sleeps without a timeout, which costs the kernel a timer each time.
	if l.joined || len(l.hub.leaving) > 0 || l.greeting && l.hub.greeting == 0 {
		l.tick()
	}
	if l.hub.site != nil {
		l.hub.site.flush()
	}
	if l.draining && l.drained() {
		l.over.Store(true)
		_ = l.sock.Close()
	}
}

// tick ends whoever has taken too long, and sets the clock for the next one.
func (l *loop) tick() {
	l.joined, l.greeting = false, l.hub.greeting > 0
	var next int64
	l.waiting, next = l.hub.tick(l.waiting, l.close)
	l.flush()
	if l.draining && (next == 0 || l.drainEnd < next) {
		next = l.drainEnd
	}
	if next == 0 {
		if l.clock != nil {
			l.clock.Stop()
		}
		return
	}
	d := time.Duration(max(0, next-l.hub.now)) + time.Millisecond
	if l.clock == nil {
		l.clock = l.sock.AfterFunc(d, l.tick)
	} else {
		l.clock.Reset(d)
	}
}

// ready handles what c is ready for.
func (l *loop) ready(c *conn, r tsocket.Ready) {
	if r&tsocket.Writable != 0 && c.mute {
		c.mute = false
		l.hub.touch(c)
	}
	if r&(tsocket.Readable|tsocket.Broken) == 0 {
		return
	}
	if l.handled += l.read(c, r&tsocket.Broken != 0); l.handled >= flushEach {
		l.flush()
		l.handled = 0
	}
}

// listenOn accepts clients from li, which it closes in the end.
func (l *loop) listenOn(ln *tsocket.Listener) error {
	li := &listener{Listener: ln}
	w, err := l.sock.Watch(ln, tsocket.Readable, func(tsocket.Ready) { l.accept(li) })
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	li.watch = w
	l.listeners = append(l.listeners, li)
	return nil
}

// accept takes waiting clients, some at a time so that the others get their
// turn.
func (l *loop) accept(li *listener) {
	for range 64 {
		s, err := li.TryAccept()
		switch {
		case errors.Is(err, tsocket.ErrAgain):
			return
		case err != nil:
			// EMFILE and its like: the client waits in the backlog until somebody leaves, or another part of the process has closed
			// something.
			if !l.hungry {
				l.log.Error("accept", "err", err)
			}
			l.hungry = true
			l.hub.stats.AcceptErrors++
			l.starve(true)
			return
		}
		l.hungry = false
		cred, err := s.PeerCred()
		if err != nil {
			l.log.Error("credentials of a client", "err", err)
			_ = s.Close()
			continue
		}
		l.adopt(s, connector.Cred{UID: cred.UID, GID: cred.GID, PID: uint32(cred.PID)}, cred.Groups)
	}
}

// starve stops accepting until a client leaves, or acceptAgain has passed.
func (l *loop) starve(yes bool) {
	if l.starved == yes {
		return
	}
	l.starved = yes
	if yes {
		if l.feeder == nil {
			l.feeder = l.sock.AfterFunc(acceptAgain, func() { l.starve(false) })
		} else {
			l.feeder.Reset(acceptAgain)
		}
	}
	for _, li := range l.listeners {
		if yes {
			li.watch.Want(0)
		} else {
			li.watch.Want(tsocket.Readable)
		}
	}
}

// adopt makes a connected stream a client.
func (l *loop) adopt(s *tsocket.Stream, cred connector.Cred, gids []uint32) *conn {
	c := l.hub.open(cred, gids)
	w, err := l.sock.Watch(s, tsocket.Readable, func(r tsocket.Ready) { l.ready(c, r) })
	c.sock, c.watch, c.wants = s, w, tsocket.Readable
	if err != nil {
		l.log.Error("client", "err", err)
		l.close(c)
		return nil
	}
	l.waiting = append(l.waiting, c)
	l.joined = true
	return c
}

// read handles what c sent: at most readMax bytes, so that nobody waits long
// for its turn. broken says that it is gone.
func (l *loop) read(c *conn, broken bool) int {
	if c.local != nil {
		return c.local.turn()
	}
	if c.choked && broken {
		l.close(c) // it will never read what it asked for
		return 0
	}
	// If it is gone, what was kept while it was paused is to be handled first, also when
	// it is about to be read again: see flush.
	if c.paused || len(c.in) > carryMax {
		return 0
	}
	keep := copy(l.rbuf, c.in)
	n, err := c.sock.TryRead(l.rbuf[keep : keep+readMax])
	switch {
	case n > 0:
		c.stat.BytesIn += uint64(n)
		l.handle(c, l.rbuf[:keep+n])
	case errors.Is(err, tsocket.ErrAgain):
	default:
		l.close(c)
	}
	return n
}

// handle gives b to the hub and keeps what is left.
func (l *loop) handle(c *conn, b []byte) {
	used := l.hub.input(c, b)
	if rest := b[used:]; len(rest) > 0 && !c.closed {
		c.in = append(c.in[:0], rest...)
		if cap(c.in) > 2*len(rest)+4096 {
			c.in = append([]byte(nil), rest...)
		}
	} else {
		c.in = nil
	}
	if c.paused {
		l.interest(c)
	}
}

// interest says what is wanted of c: reading unless it is paused, writing if it
// was found full.
func (l *loop) interest(c *conn) {
	if c.local != nil {
		if !c.paused {
			c.local.again()
		}
		return
	}
	var want tsocket.Ready
	if !c.paused && !c.last {
		want |= tsocket.Readable
	}
	if c.mute {
		want |= tsocket.Writable
	}
	if want != c.wants {
		c.wants = want
		c.watch.Want(want)
	}
}

// flush writes to everyone who has something, and goes on until what came of
// that is written too: an acknowledgement is due only when the message is out.
func (l *loop) flush() {
	h := l.hub
	for {
		h.pumpWatches()
		for i := 0; i < len(h.dirty); i++ {
			c := h.dirty[i]
			c.dirty = false
			switch {
			case c.closed:
			case c.proxy:
				h.site.drain(c)
			default:
				l.write(c)
			}
		}
		clear(h.dirty)
		h.dirty = h.dirty[:0]
		if len(h.resumed) == 0 {
			if len(h.dirty) == 0 {
				return
			}
			continue
		}
		again := h.resumed
		h.resumed = nil
		for _, c := range again {
			if c.closed || c.paused {
				continue
			}
			if c.proxy {
				h.site.again(c)
				continue
			}
			l.interest(c)
			if len(c.in) > 0 {
				in := append([]byte(nil), c.in...)
				c.in = nil
				l.handle(c, in)
			}
		}
	}
}

// write writes what c has waiting; what does not fit waits for room.
func (l *loop) write(c *conn) {
	if c.local != nil {
		l.writeLocal(c)
		return
	}
	for c.out.len() > 0 {
		n, err := c.sock.TryWrite(c.out.pending())
		if err != nil && !errors.Is(err, tsocket.ErrAgain) {
			l.close(c)
			return
		}
		whole := int(n) == c.out.len()
		if n > 0 {
			l.hub.written(c, int(n))
		}
		if !whole && c.out.len() > 0 {
			// The socket took a part, or nothing: it is full.
			l.hub.blocked(c)
			l.interest(c)
			return
		}
	}
	if c.last {
		l.close(c)
		return
	}
	if c.wants&tsocket.Writable != 0 {
		l.interest(c)
	}
}

// writeLocal is write for a client of this process.
func (l *loop) writeLocal(c *conn) {
	if c.local.landing {
		l.launch(c)
		return
	}
	for c.out.len() > 0 {
		n := c.local.write(c.out.pending())
		if n < 0 {
			l.close(c)
			return
		}
		whole := n == c.out.len()
		if n > 0 {
			l.hub.written(c, n)
		}
		if !whole {
			l.hub.blocked(c)
			return
		}
	}
	if c.last {
		l.close(c)
	}
}

// launch is writeLocal for a client whose peer is behind other goroutines. What waits for them to write is on its way, and
// nobody who does not want to waits for that.
func (l *loop) launch(c *conn) {
	switch {
	case c.out.len() > 0:
		if !c.local.launch(c.out.pending()) {
			l.close(c)
			return
		}
		l.hub.blocked(c)
	case c.last:
		l.close(c)
	}
}

// close ends a connection.
func (l *loop) close(c *conn) {
	if c.closed {
		return
	}
	l.hub.close(c)
	if c.local != nil {
		c.local.end()
		return
	}
	_ = c.sock.Close()
	l.starve(false)
}

// drain stops accepting, says good-bye to everyone after what waits for them,
// and ends the loop when that is written, or at the deadline.
func (l *loop) drain(text string, patience time.Duration) {
	if l.draining {
		l.drainEnd = now()
		return
	}
	l.draining = true
	l.drainEnd = now() + int64(patience)
	for _, li := range l.listeners {
		li.watch.Stop()
	}
	l.listeners = nil
	for _, c := range l.hub.conns {
		// What clients have sent before now counts.
		for range 16 {
			if c.closed || c.paused || c.last || l.read(c, false) == 0 {
				break
			}
		}
	}
	l.flush()
	for _, c := range l.hub.conns {
		l.hub.bye(c, connector.ErrShutdown, "%s", text)
		if !c.closed {
			l.interest(c)
		}
	}
	l.flush()
	l.tick()
}

func (l *loop) drained() bool {
	return len(l.hub.conns) == 0 || now() >= l.drainEnd
}

// end frees everything.
func (l *loop) end() {
	l.over.Store(true)
	_ = l.sock.Close()
	for _, c := range l.hub.conns {
		l.close(c)
	}
	for _, g := range l.hub.groups {
		if g.hist != nil && g.hist.file != nil {
			g.hist.file.unmap()
			g.hist = nil
		}
	}
}
