package tsocket

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangupWatch tells a stream that its peer has gone, though nobody reads. It is
// registered in an epoll descriptor that all streams of the process share and one
// goroutine looks at.
type hangupWatch struct {
	id     atomic.Uint64 // in the table of hangups; 0: not registered
	gone   atomic.Bool
	mu     sync.Mutex // guards broken
	broken func(error)
}

// seen reports whether the peer has gone, as far as it was watched.
func (w *hangupWatch) seen() bool { return w.gone.Load() }

// watch registers s, once.
func (w *hangupWatch) watch(s *fdStream) error {
	if w.id.Load() != 0 {
		return nil
	}
	return s.sys.control(func(fd int) error { return w.watchFD(s, fd) })
}

// watchFD is watch for who has the descriptor already: by a reference, or because it is
// inside the poller. There a reference of its own could be the last one, and who lets
// go of that closes the file, which waits for all that are in the poller: for itself.
func (w *hangupWatch) watchFD(s *fdStream, fd int) error {
	if w.id.Load() != 0 {
		return nil
	}
	err := hangups.add(fd, s)
	if err == nil && s.sys.closing() { // and Close may have looked before
		hangups.remove(fd, w.id.Load())
	}
	return err
}

func (w *hangupWatch) forget(s *fdStream) {
	if id := w.id.Load(); id != 0 {
		_ = s.sys.control(func(fd int) error {
			hangups.remove(fd, id)
			return nil
		})
	}
}

// forgetClosed is forget of a descriptor that is closed, or will be by the last one that uses
// it, for a watch that began after forget had looked and before that was to be seen.
func (w *hangupWatch) forgetClosed() {
	if id := w.id.Load(); id != 0 {
		hangups.remove(-1, id)
	}
}

// Monitor calls broken when the peer has gone.
func (s *fdStream) Monitor(broken func(error)) (stop func(), err error) {
	w := &s.hangup
	w.mu.Lock()
	w.broken = broken
	w.mu.Unlock()
	if st := s.sys.seat.Load(); st == nil || !st.tellsHangup() {
		if err := w.watch(s); err != nil {
			return nil, err
		}
	}
	if w.seen() {
		w.tell(s)
	}
	return func() {
		w.mu.Lock()
		w.broken = nil
		w.mu.Unlock()
	}, nil
}

// tell calls whoever monitors the stream, once.
func (w *hangupWatch) tell(s *fdStream) {
	w.mu.Lock()
	broken := w.broken
	w.broken = nil
	w.mu.Unlock()
	if broken != nil {
		go func() { broken(s.brokenErrno()) }()
	}
}

// watchedElsewhere is called when the loop will not tell any more that the peer has gone.
func (s *fdStream) watchedElsewhere() error {
	w := &s.hangup
	w.mu.Lock()
	monitored := w.broken != nil
	w.mu.Unlock()
	if !monitored {
		return nil
	}
	return w.watch(s)
}

// onHangup is called once, when the kernel says that the peer has gone.
func (s *fdStream) onHangup() {
	s.hangup.gone.Store(true)
	if !s.halfOpen.Load() {
		if x := s.wr.Load(); x != nil {
			x.op.arm.fire()
		}
	}
	s.hangup.tell(s)
}

// watchWrite is called when a write is about to wait. As in C, it fails when
// the peer has finished writing, though that may still read. The caller has fd.
func (s *fdStream) watchWrite(fd int) (gone bool) {
	if s.halfOpen.Load() {
		return false
	}
	s.writing().op.arm.activate()
	if s.hangup.watchFD(s, fd) != nil {
		return false // pipes and the like: the write itself will tell
	}
	return s.hangup.seen()
}

// hangups is the table of the streams that are watched. Its epoll descriptor
// and goroutine exist while there is any.
var hangups hangupTable

type hangupTable struct {
	mu   sync.Mutex // guards all; epoll_ctl, which does not block, is called under it
	next uint64
	tab  map[uint64]*fdStream
	file *os.File
	fd   int
}

func (t *hangupTable) add(fd int, s *fdStream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.hangup.id.Load() != 0 {
		return nil
	}
	if t.file == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	t.next++
	id := t.next
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	if err := unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		t.closeIfEmpty()
		return err
	}
	t.tab[id] = s
	s.hangup.id.Store(id)
	return nil
}

// remove takes a stream out of the table; the kernel does its part when fd is negative, at the
// latest when nobody has the file open any more.
func (t *hangupTable) remove(fd int, id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.tab[id]; !ok {
		return
	}
	delete(t.tab, id)
	if fd >= 0 {
		_ = unix.EpollCtl(t.fd, unix.EPOLL_CTL_DEL, fd, nil)
	}
	t.closeIfEmpty()
}

// open makes the epoll descriptor. It is itself in Go's poller, so that the
// goroutine needs no thread to wait.
func (t *hangupTable) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	t.fd, t.file = fd, os.NewFile(uintptr(fd), "tsocket hang-ups")
	t.tab = make(map[uint64]*fdStream)
	raw, err := t.file.SyscallConn()
	if err != nil {
		_ = t.file.Close()
		t.file = nil
		return err
	}
	go t.run(raw)
	return nil
}

func (t *hangupTable) closeIfEmpty() {
	if len(t.tab) == 0 && t.file != nil {
		_ = t.file.Close()
		t.file, t.tab = nil, nil
	}
}

// run tells the streams whose peers have gone, until the descriptor is closed.
func (t *hangupTable) run(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		if raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		}) != nil {
			return
		}
		for _, ev := range events[:n] {
			t.mu.Lock()
			s := t.tab[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]
			t.mu.Unlock()
			if s != nil {
				s.onHangup()
			}
		}
	}
}
