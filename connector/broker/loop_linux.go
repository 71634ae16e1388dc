package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
)

// loop runs the hub: one goroutine on one thread, one epoll. It reads what
// clients sent, lets the hub handle it, and writes what came of it, many
// messages per system call in each direction. Waking a goroutine per
// connection, as the Go poller does, makes a round trip half as long again.
type loop struct {
	hub *hub
	log *slog.Logger
	ep  int
	efd int // wakes the loop for posted functions

	conns     map[int32]*conn // by descriptor
	listeners map[int32]*listener
	waiting   []*conn // have not said Hello
	rbuf      []byte
	spin      spinner
	draining  bool
	drainEnd  int64

	mu     sync.Mutex // guards posted, ended
	posted []func()
	ended  bool
	done   chan struct{}
}

type listener struct {
	fd    int
	owner *os.File // keeps the descriptor open
	cred  func(fd int) (connector.Cred, []uint32, error)
}

const (
	readMax   = 64 << 10 // bytes read from one client in its turn
	carryMax  = 32 << 10 // room before them for a frame that was not complete
	flushEach = 256 << 10
	maxEvents = 128
)

func newLoop(h *hub, log *slog.Logger) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("broker: epoll: %w", err)
	}
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("broker: eventfd: %w", err)
	}
	l := &loop{
		hub: h, log: log, ep: ep, efd: efd,
		conns: make(map[int32]*conn), listeners: make(map[int32]*listener),
		rbuf: make([]byte, carryMax+readMax), done: make(chan struct{}),
	}
	if err := l.watch(efd, unix.EPOLLIN); err != nil {
		unix.Close(ep)
		unix.Close(efd)
		return nil, err
	}
	return l, nil
}

func (l *loop) watch(fd int, events uint32) error {
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("broker: epoll_ctl: %w", err)
	}
	return nil
}

// post runs f on the loop. It returns false when the loop has ended.
func (l *loop) post(f func()) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, f)
	l.mu.Unlock()
	var one [8]byte
	*(*uint64)(unsafe.Pointer(&one)) = 1
	_, _ = unix.Write(l.efd, one[:]) // only full when the loop has far more to do
	return true
}

// do runs f on the loop and waits for it.
func (l *loop) do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	if !l.post(func() { f(); close(ran) }) {
		return connector.ErrClosed
	}
	select {
	case <-ran:
		return nil
	case <-l.done:
		return connector.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func now() int64 { return time.Now().UnixNano() }

// run is the loop. It returns when stop was posted and everything is written,
// or on a failure of epoll itself.
func (l *loop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.end()
	events := make([]unix.EpollEvent, maxEvents)
	for {
		n, err := l.wait(events)
		if err != nil {
			return err
		}
		l.hub.now = now()
		handled := 0
		for i := range events[:n] {
			handled += l.event(events[i].Fd, events[i].Events)
			if handled >= flushEach {
				l.flush()
				handled = 0
			}
		}
		l.flush()
		if l.draining && l.drained() {
			return nil
		}
	}
}

// wait first looks without waiting: a loop with work to do spares itself the
// scheduler.
func (l *loop) wait(events []unix.EpollEvent) (int, error) {
	if n := l.poll(events); n > 0 {
		return n, nil
	}
	start := time.Now()
	if l.spin.worthwhile() {
		for range spinTurns {
			unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
			n := l.poll(events)
			took := time.Since(start)
			if took > spinMax {
				l.spin.failed(took)
				if n == 0 {
					break
				}
			}
			if n > 0 {
				return n, nil
			}
		}
		start = time.Now()
	}
	n, err := l.block(events)
	l.spin.slept(time.Since(start))
	return n, err
}

// poll looks for events without waiting and without telling the scheduler.
func (l *loop) poll(events []unix.EpollEvent) int {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// block waits for events, or for the next thing that is due.
func (l *loop) block(events []unix.EpollEvent) (int, error) {
	timeout := -1
	if len(l.waiting) > 0 || len(l.hub.leaving) > 0 || l.draining {
		l.hub.now = now()
		var next int64
		if l.waiting, next = l.hub.tick(l.waiting, l.close); l.draining {
			next = l.drainEnd
		}
		l.flush()
		if next != 0 {
			timeout = int(max(0, (next-l.hub.now)/1e6+1))
		}
	}
	for {
		n, err := unix.EpollWait(l.ep, events, timeout)
		if !errors.Is(err, unix.EINTR) {
			if err != nil {
				return 0, fmt.Errorf("broker: epoll_wait: %w", err)
			}
			return n, nil
		}
	}
}

// event handles one ready descriptor and returns the bytes read.
func (l *loop) event(fd int32, ev uint32) int {
	if c := l.conns[fd]; c != nil {
		if ev&unix.EPOLLOUT != 0 && c.mute {
			c.mute = false
			l.hub.touch(c)
		}
		if ev&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
			return l.read(c, ev)
		}
		return 0
	}
	if li := l.listeners[fd]; li != nil {
		l.accept(li)
		return 0
	}
	if int(fd) == l.efd {
		l.runPosted()
	}
	return 0
}

func (l *loop) runPosted() {
	var b [8]byte
	_, _ = unix.Read(l.efd, b[:])
	l.mu.Lock()
	fs := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// accept takes waiting clients, some at a time so that the others get their
// turn.
func (l *loop) accept(li *listener) {
	for range 64 {
		fd, _, err := unix.Accept4(li.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
			continue
		case err != nil:
			// EMFILE and its like: the client waits in the backlog until somebody leaves.
			l.log.Error("accept", "err", err)
			l.hub.stats.AcceptErrors++
			l.pauseListener(li)
			return
		}
		cred, gids, err := li.cred(fd)
		if err != nil {
			l.log.Error("credentials of a client", "err", err)
			unix.Close(fd)
			continue
		}
		l.adopt(fd, cred, gids)
	}
}

// pauseListener stops accepting until a client leaves.
func (l *loop) pauseListener(li *listener) {
	_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, li.fd, nil)
	delete(l.listeners, int32(li.fd))
	l.listeners[^int32(li.fd)] = li
}

func (l *loop) resumeListeners() {
	for key, li := range l.listeners {
		if key < 0 {
			delete(l.listeners, key)
			if err := l.watch(li.fd, unix.EPOLLIN); err != nil {
				l.log.Error("listener", "err", err)
				continue
			}
			l.listeners[int32(li.fd)] = li
		}
	}
}

// adopt makes a connected, non-blocking socket a client.
func (l *loop) adopt(fd int, cred connector.Cred, gids []uint32) *conn {
	if err := l.watch(fd, unix.EPOLLIN); err != nil {
		l.log.Error("client", "err", err)
		unix.Close(fd)
		return nil
	}
	c := l.hub.open(fd, cred, gids)
	c.events = unix.EPOLLIN
	l.conns[int32(fd)] = c
	l.waiting = append(l.waiting, c)
	return c
}

// read handles what c sent: at most readMax bytes, so that nobody waits long
// for its turn.
func (l *loop) read(c *conn, ev uint32) int {
	if c.choked && ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.close(c) // it will never read what it asked for
		return 0
	}
	if c.paused {
		// It is gone, but what it sent is not handled yet: look again then.
		if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, c.fd, nil)
			c.away = true
		}
		return 0
	}
	keep := copy(l.rbuf, c.in)
	n, err := rawRead(c.fd, l.rbuf[keep:keep+readMax])
	switch {
	case n > 0:
		c.stat.BytesIn += uint64(n)
		l.handle(c, l.rbuf[:keep+n])
	case err == unix.EAGAIN || err == unix.EINTR:
	default:
		l.close(c)
	}
	return max(n, 0)
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

// interest tells epoll what is wanted of c: reading unless it is paused,
// writing if it was found full.
func (l *loop) interest(c *conn) {
	var want uint32
	if c.away {
		if c.paused {
			return
		}
		c.away = false
		c.events = 0
		if err := l.watch(c.fd, 0); err != nil {
			l.log.Error("client", "port", c.port, "err", err)
			l.close(c)
			return
		}
	}
	if !c.paused && !c.last {
		want |= unix.EPOLLIN
	}
	if c.mute {
		want |= unix.EPOLLOUT
	}
	if want != c.events {
		c.events = want
		if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: want, Fd: int32(c.fd)}); err != nil {
			l.log.Error("epoll_ctl", "port", c.port, "err", err)
			l.close(c)
		}
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
			if !c.closed {
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
			l.interest(c)
			if len(c.in) > 0 {
				in := append([]byte(nil), c.in...)
				c.in = nil
				l.handle(c, in)
			}
		}
	}
}

// write writes what c has waiting; what does not fit waits for EPOLLOUT.
func (l *loop) write(c *conn) {
	for c.out.len() > 0 {
		n, err := rawWrite(c.fd, c.out.pending())
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			l.hub.blocked(c)
			l.interest(c)
			return
		}
		if err != 0 {
			l.close(c)
			return
		}
		whole := n == c.out.len()
		l.hub.written(c, n)
		if !whole && c.out.len() > 0 {
			// The socket took a part: it is full.
			l.hub.blocked(c)
			l.interest(c)
			return
		}
	}
	if c.last {
		l.close(c)
		return
	}
	if c.events&unix.EPOLLOUT != 0 {
		l.interest(c)
	}
}

// close ends a connection.
func (l *loop) close(c *conn) {
	if c.closed {
		return
	}
	l.hub.close(c)
	delete(l.conns, int32(c.fd))
	unix.Close(c.fd) // takes it out of epoll too
	l.resumeListeners()
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
	for key, li := range l.listeners {
		if key >= 0 {
			_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, li.fd, nil)
		}
	}
	clear(l.listeners)
	for _, c := range l.conns {
		// What clients have sent before now counts.
		for range 16 {
			if c.closed || c.paused || c.last || l.read(c, 0) == 0 {
				break
			}
		}
	}
	l.flush()
	for _, c := range l.conns {
		l.hub.bye(c, connector.ErrShutdown, "%s", text)
		if !c.closed {
			l.interest(c)
		}
	}
	l.flush()
}

func (l *loop) drained() bool {
	return len(l.conns) == 0 || now() >= l.drainEnd
}

// end frees everything.
func (l *loop) end() {
	for _, c := range l.conns {
		l.close(c)
	}
	for _, g := range l.hub.groups {
		if g.hist != nil && g.hist.file != nil {
			g.hist.file.unmap()
			g.hist = nil
		}
	}
	l.mu.Lock()
	l.ended = true
	fs := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range fs {
		f()
	}
	unix.Close(l.ep)
	unix.Close(l.efd)
	close(l.done)
}

// rawRead and rawWrite do not tell the scheduler: the descriptors do not block.
func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if e != 0 {
		return -1, e
	}
	return int(n), 0
}

func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(n), 0
}
