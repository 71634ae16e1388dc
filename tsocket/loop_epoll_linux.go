package tsocket

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoller waits in an epoll descriptor of its own.
//
// While somebody wants to read, reading is level-triggered: each turn tells again, and the next
// request costs no system call to wait. While nobody does, only hang-ups are asked for, and
// edge-triggered: a peer that has finished writing, which is a state that stays, costs
// nothing.
type epoller struct {
	ep, event sysfd
	raw       []unix.EpollEvent

	mu    sync.Mutex // guards the fields below
	table []tableRow
	free  []uint32
}

// tableRow: an event names its seat by the row, and by how often the row was used.
type tableRow struct {
	seat *seat
	uses uint32
}

// wakeRow is the name of the eventfd.
const wakeRow = ^uint32(0)

func newPoller() (poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, err
	}
	p := &epoller{raw: make([]unix.EpollEvent, maxEvents)}
	p.ep.fd, p.event.fd = ep, efd
	// Edge-triggered, so that nobody has to read it.
	row := wakeRow
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(row)}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, efd, &ev); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoller) close() {
	p.ep.close()
	p.event.close()
}

func (p *epoller) oneShot() bool { return false }

func (p *epoller) wake() {
	if !p.event.acquire() {
		return
	}
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(p.event.fd), uintptr(unsafe.Pointer(&one)), 8) // it cannot be full
	p.event.release()
}

// look does not tell the scheduler: it does not wait.
func (p *epoller) look(events []event) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep.fd), uintptr(unsafe.Pointer(&p.raw[0])), uintptr(len(p.raw)), 0, 0, 0)
	if errno == syscall.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, errno
	}
	return p.translate(events, int(n)), nil
}

func (p *epoller) wait(events []event, timeout time.Duration) (int, error) {
	ms := -1
	if timeout >= 0 {
		ms = int(min((timeout+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	n, err := unix.EpollWait(p.ep.fd, p.raw, ms)
	if err != nil {
		if err == syscall.EINTR {
			return 0, nil
		}
		return 0, err
	}
	return p.translate(events, n), nil
}

func (p *epoller) translate(events []event, n int) int {
	if n == 0 {
		return 0
	}
	k := 0
	p.mu.Lock()
	for i := range p.raw[:n] {
		raw := &p.raw[i]
		row := uint32(raw.Fd)
		if row >= uint32(len(p.table)) || p.table[row].uses != uint32(raw.Pad) || p.table[row].seat == nil {
			continue // the wake-up, or what is closed
		}
		events[k] = event{p.table[row].seat, readyOf(raw.Events)}
		k++
	}
	p.mu.Unlock()
	return k
}

func readyOf(ev uint32) (r Ready) {
	if ev&unix.EPOLLIN != 0 {
		r |= Readable
	}
	if ev&unix.EPOLLOUT != 0 {
		r |= Writable
	}
	if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		r |= Broken
	}
	if ev&unix.EPOLLRDHUP != 0 {
		r |= peerDone
	}
	return r
}

func (p *epoller) add(st *seat) error {
	p.mu.Lock()
	if len(p.free) == 0 {
		p.free = append(p.free, uint32(len(p.table)))
		p.table = append(p.table, tableRow{})
	}
	last := len(p.free) - 1
	st.key.row = p.free[last]
	p.free = p.free[:last]
	row := &p.table[st.key.row]
	row.seat, st.key.uses = st, row.uses
	p.mu.Unlock()
	err := p.control(unix.EPOLL_CTL_ADD, st, eventsOf(st, 0))
	if err != nil {
		p.drop(st)
	}
	return err
}

func (p *epoller) drop(st *seat) {
	p.mu.Lock()
	row := &p.table[st.key.row]
	row.seat = nil
	row.uses++
	p.free = append(p.free, st.key.row)
	p.mu.Unlock()
}

func (p *epoller) set(st *seat, want Ready) {
	_ = p.control(unix.EPOLL_CTL_MOD, st, eventsOf(st, want)) // fails for lack of memory at most, and it needs none
}

func (p *epoller) remove(st *seat) {
	_ = p.control(unix.EPOLL_CTL_DEL, st, 0)
	p.drop(st)
}

func eventsOf(st *seat, want Ready) (ev uint32) {
	if want&Readable != 0 {
		ev |= unix.EPOLLIN
	}
	if want&Writable != 0 {
		ev |= unix.EPOLLOUT
	}
	if st.watch == nil {
		ev |= unix.EPOLLRDHUP
		if want&Readable == 0 {
			ev |= unix.EPOLLET
		}
	} else if want == 0 {
		ev |= unix.EPOLLET
	}
	return ev
}

func (p *epoller) control(call int, st *seat, events uint32) error {
	if !p.ep.acquire() {
		return ErrClosed
	}
	defer p.ep.release()
	ev := unix.EpollEvent{Events: events, Fd: int32(st.key.row), Pad: int32(st.key.uses)}
	return unix.EpollCtl(p.ep.fd, call, st.sys().fd, &ev)
}

// yieldCore lets others have the core.
func yieldCore() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// threadID returns a number of the thread, 0 where it has none.
func threadID() int64 { return int64(unix.Gettid()) }
