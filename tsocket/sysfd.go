package tsocket

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sysfd owns a descriptor in non-blocking mode. It joins Go's poller when
// somebody has to wait for the first time, and not before, so that who only tries
// (and waits by other means) pays for one poller only.
//
// A call outside the poller holds a reference meanwhile, so that the number is not
// given to another file under its hands.
type sysfd struct {
	fd   int
	refs atomic.Int64
	poll atomic.Pointer[polled]
	seat atomic.Pointer[seat] // in a loop
	mu   sync.Mutex           // serialises joining the poller
}

// closedBit in refs says that the descriptor is to be closed when the last
// reference goes.
const closedBit = 1 << 62

type polled struct {
	file *os.File
	raw  syscall.RawConn
}

func (f *sysfd) acquire() bool {
	for {
		v := f.refs.Load()
		if v&closedBit != 0 {
			return false
		}
		if f.refs.CompareAndSwap(v, v+1) {
			return true
		}
	}
}

// closing reports whether close was called.
func (f *sysfd) closing() bool { return f.refs.Load()&closedBit != 0 }

func (f *sysfd) release() {
	if f.refs.Add(-1) == closedBit {
		f.destroy()
	}
}

// close wakes everybody and closes the descriptor; false if that was done.
func (f *sysfd) close() bool {
	var rd, wr loopRequest
	if st := f.seat.Load(); st != nil {
		rd, wr = st.leave()
	}
	for {
		v := f.refs.Load()
		if v&closedBit != 0 {
			return false
		}
		if f.refs.CompareAndSwap(v, v|closedBit) {
			if v == 0 {
				f.destroy()
			}
			break
		}
	}
	if rd != nil {
		rd.halt(ErrClosed)
	}
	if wr != nil {
		wr.halt(ErrClosed)
	}
	return true
}

func (f *sysfd) destroy() {
	if p := f.poll.Load(); p != nil {
		_ = p.file.Close()
		return
	}
	_ = unix.Close(f.fd)
}

// join adds the descriptor to Go's poller. The caller holds a reference.
func (f *sysfd) join() (*polled, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.poll.Load(); p != nil {
		return p, nil
	}
	file := os.NewFile(uintptr(f.fd), "tsocket")
	if file == nil {
		return nil, syscall.EBADF
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &polled{file, raw}
	f.poll.Store(p)
	return p, nil
}

// control calls fn with the descriptor, or returns ErrClosed.
func (f *sysfd) control(fn func(fd int) error) error {
	if !f.acquire() {
		return ErrClosed
	}
	defer f.release()
	return fn(f.fd)
}

// setDeadline sets the deadline of one direction, if anybody waits in the poller.
func (f *sysfd) setDeadline(write bool, t time.Time) {
	p := f.poll.Load()
	switch {
	case p == nil:
	case write:
		_ = p.file.SetWriteDeadline(t)
	default:
		_ = p.file.SetReadDeadline(t)
	}
}

// A fdOp is one direction of a descriptor, with the system call that is tried.
type fdOp struct {
	sys   *sysfd
	arm   arm
	try   func(fd int) bool // makes the call; false: it would wait
	fn    func(uintptr) bool
	tries int // of fn in one wait
	write bool
	ready bool // the last operation did not have to wait
	soft  bool // the last try is to be made again though no event will tell when
}

func (o *fdOp) init(f *sysfd, write bool, try func(fd int) bool) {
	o.sys, o.write, o.try = f, write, try
	o.arm.kick = func(t time.Time) { f.setDeadline(write, t) }
}

// now calls try once.
func (o *fdOp) now() (done bool, err error) {
	if !o.sys.acquire() {
		return true, ErrClosed
	}
	defer o.sys.release()
	return o.try(o.sys.fd), nil
}

// run calls try until it returns true. It fails with ErrClosed, or with
// errInterrupted when ctx has ended, or the arm was fired for another reason.
//
// Trying outside the poller costs less, a try in vain costs a system call: it
// does what would have been right for the last operation.
func (o *fdOp) run(ctx context.Context) error {
	p := o.sys.poll.Load()
	joined := false
	if p == nil || o.ready {
		if ctx.Err() != nil {
			return errInterrupted
		}
		if !o.sys.acquire() {
			return ErrClosed
		}
		done := o.try(o.sys.fd)
		var err error
		if !done && p == nil {
			p, err = o.sys.join()
			joined = true
		}
		o.sys.release()
		if done || err != nil {
			o.arm.end() // which try may have activated
			return err
		}
	}
	if !o.arm.begin(ctx) {
		return errInterrupted
	}
	if joined && o.arm.isFired() { // before there was a deadline to set
		o.arm.end()
		return errInterrupted
	}
	err := o.wait(p)
	o.arm.end()
	return err
}

// wait is run inside the poller.
func (o *fdOp) wait(p *polled) error {
	if o.fn == nil {
		o.fn = func(fd uintptr) bool {
			o.tries++
			return o.try(int(fd))
		}
	}
	o.tries = 0
	var err error
	if o.write {
		err = p.raw.Write(o.fn)
	} else {
		err = p.raw.Read(o.fn)
	}
	o.ready = err == nil && o.tries == 1
	switch {
	case err == nil:
		return nil
	case os.IsTimeout(err):
		return errInterrupted
	case o.sys.closing():
		return ErrClosed
	}
	return err
}
