package tsocket

import (
	"io"
)

// rawConnOps is connOps for the conns of package net that are a descriptor and
// nothing else: they can be read and written without waiting too.
type rawConnOps struct {
	*connOps
	in, out     fdXfer
	read, write func(fd uintptr) bool
}

func newRawConnOps(c *connOps) *rawConnOps {
	o := &rawConnOps{connOps: c}
	o.read = func(fd uintptr) bool { o.readOnce(int(fd)); return true }
	o.write = func(fd uintptr) bool { o.writeOnce(int(fd)); return true }
	return o
}

func (o *rawConnOps) readOnce(fd int) {
	x := &o.in
	for {
		n, errno := readv(fd, x.bufs)
		if judge(errno) != tryAgain {
			x.n, x.errno = int64(n), errno
			return
		}
	}
}

func (o *rawConnOps) writeOnce(fd int) {
	x := &o.out
	for {
		n, errno := writev(fd, x)
		if judge(errno) != tryAgain {
			x.n, x.errno = int64(n), errno
			return
		}
	}
}

// TryRead reads what is there, or returns ErrAgain.
func (o *rawConnOps) TryRead(bufs [][]byte) (int, error) {
	o.rmu.Lock()
	defer o.rmu.Unlock()
	if o.readErr != nil {
		return 0, o.readErr
	}
	x := &o.in
	x.bufs, x.n, x.errno = bufs, 0, 0
	err := o.raw.Read(o.read)
	x.bufs = nil
	switch {
	case err != nil:
		return 0, err
	case x.errno != 0 && judge(x.errno) != isFinal:
		return 0, ErrAgain
	case x.errno != 0:
		o.readErr = x.errno
	case x.n == 0:
		o.readErr = io.EOF
	default:
		return int(x.n), nil
	}
	return 0, o.readErr
}

// TryWrite writes what there is room for, or returns ErrAgain.
func (o *rawConnOps) TryWrite(bufs [][]byte) (int, error) {
	x := &o.out
	x.take(bufs, false)
	err := o.raw.Write(o.write)
	x.drop()
	switch {
	case err != nil:
		return 0, err
	case x.errno == 0:
		return int(x.n), nil
	case judge(x.errno) != isFinal:
		return 0, ErrAgain
	}
	return 0, x.errno
}
