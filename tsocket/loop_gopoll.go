package tsocket

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// goPoller waits in Go's poller, with a goroutine for each direction of a descriptor
// that is waited for. It is for systems without epoll; tests run it on all.
type goPoller struct {
	sig   chan struct{}
	timer *time.Timer

	mu    sync.Mutex // guards ready, and busy of the seats
	ready []event
}

func newGoPoller() *goPoller {
	return &goPoller{sig: make(chan struct{}, 1)}
}

func (p *goPoller) oneShot() bool { return true }

func (p *goPoller) wake() {
	select {
	case p.sig <- struct{}{}:
	default:
	}
}

func (p *goPoller) look(events []event) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(events, p.ready)
	left := copy(p.ready, p.ready[n:])
	clear(p.ready[left:])
	p.ready = p.ready[:left]
	return n, nil
}

func (p *goPoller) wait(events []event, timeout time.Duration) (int, error) {
	if n, err := p.look(events); n > 0 {
		return n, err
	}
	var over <-chan time.Time
	if timeout >= 0 {
		if p.timer == nil {
			p.timer = time.NewTimer(timeout)
		} else {
			p.timer.Reset(timeout)
		}
		over = p.timer.C
	}
	select {
	case <-p.sig:
	case <-over:
	}
	if over != nil {
		p.timer.Stop()
	}
	return p.look(events)
}

func (p *goPoller) add(*seat) error { return nil }
func (p *goPoller) remove(*seat)    {}
func (p *goPoller) close()          {}

func (p *goPoller) set(st *seat, want Ready) {
	for _, dir := range [...]Ready{Readable, Writable} {
		p.mu.Lock()
		start := want&dir != 0 && !st.busy.has(dir)
		if start {
			st.busy.add(dir)
		}
		p.mu.Unlock()
		if start {
			go p.watch(st, dir)
		}
	}
}

// watch waits until the descriptor is ready or closed.
func (p *goPoller) watch(st *seat, dir Ready) {
	closed := p.await(st.sys(), dir) != nil
	p.mu.Lock()
	st.busy.remove(dir)
	if !closed {
		p.ready = append(p.ready, event{st, dir})
	}
	p.mu.Unlock()
	p.wake()
}

func (p *goPoller) await(f *sysfd, dir Ready) error {
	if !f.acquire() {
		return ErrClosed
	}
	polled, err := f.join()
	f.release()
	if err != nil {
		return err
	}
	mask, wait := int16(unix.POLLIN), polled.raw.Read
	if dir == Writable {
		mask, wait = unix.POLLOUT, polled.raw.Write
	}
	err = wait(func(fd uintptr) bool {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: mask}}
		n, err := unix.Poll(fds[:], 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if err != nil && f.closing() {
		return ErrClosed
	}
	return nil // what interrupts others makes one try in vain
}
