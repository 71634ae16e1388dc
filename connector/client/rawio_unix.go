//go:build unix

package client

import (
	"errors"
	"net"
	"syscall"
)

// rawIO does single system calls on a connection's descriptor, which never
// wait: what the writer of a message needs, because whoever waits for room in a socket
// must go on reading, or two full parties wait for each other.
type rawIO struct {
	rc syscall.RawConn

	// The closures are made once, so that a call allocates nothing. Each
	// direction has one user at a time.
	wbuf, rbuf []byte
	wn, rn     int
	werr, rerr error
	wfn, rfn   func(fd uintptr) bool
}

// newRawIO returns nil for a connection without a descriptor.
func newRawIO(c net.Conn) *rawIO {
	sc, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawIO{rc: rc}
	r.wfn = func(fd uintptr) bool {
		for {
			if r.wn, r.werr = syscall.Write(int(fd), r.wbuf); r.werr != syscall.EINTR {
				return true
			}
		}
	}
	r.rfn = func(fd uintptr) bool {
		for {
			if r.rn, r.rerr = syscall.Read(int(fd), r.rbuf); r.rerr != syscall.EINTR {
				return true
			}
		}
	}
	return r
}

// tryWrite writes what fits now; n may be 0.
func (r *rawIO) tryWrite(b []byte) (n int, err error) {
	r.wbuf = b
	err = r.rc.Write(r.wfn)
	r.wbuf = nil
	switch {
	case err != nil:
		return 0, err
	case r.werr == nil:
		return r.wn, nil
	case errors.Is(r.werr, syscall.EAGAIN):
		return 0, nil
	}
	return 0, r.werr
}

// tryRead reads what is there now; ok is false when nothing is, or when only a
// waiting read can tell (end of stream, error).
func (r *rawIO) tryRead(b []byte) (n int, ok bool) {
	r.rbuf = b
	err := r.rc.Read(r.rfn)
	r.rbuf = nil
	if err != nil || r.rerr != nil || r.rn <= 0 {
		return 0, false
	}
	return r.rn, true
}
