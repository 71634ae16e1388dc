package tsocket

import (
	"context"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fdDgram is the datagram socket of a descriptor: UDP, unix, netlink, ...
type fdDgram struct {
	sys           sysfd
	udp           bool // its datagrams are of maxUDP bytes at most
	ends          bool // it is connected as a stream is: no bytes are its end
	local, remote Addr
	rd            fdRecv
	wr            fdSend
	notices       atomic.Bool

	// An error that the kernel keeps for the socket makes the next receive fail, unless a
	// send has met it before (suspect), or it is one of this host, which sets nothing: then
	// the receiver is woken and finds no datagram (idle). Otherwise there is no need to ask for notices
	// each time that there are no more datagrams.
	suspect atomic.Bool
	idle    bool // the last receive found nothing; of the receiver
}

// mayHaveNotice reports whether there may be a notice, now that there is no
// datagram. The receiver calls it.
func (s *fdDgram) mayHaveNotice() bool {
	if !s.notices.Load() {
		return false
	}
	again := s.idle
	s.idle = true
	return s.suspect.Swap(false) || again
}

// maxUDP is more than any UDP datagram holds.
const maxUDP = 1 << 16

type fdRecv struct {
	op    fdOp
	buf   []byte // of the caller
	data  []byte
	src   Addr
	err   error
	own   []byte // memory of the socket
	raw   rawSockaddr
	names rawName
}

type fdSend struct {
	op       fdOp
	buf      []byte
	raw      rawSockaddr
	rawLen   int
	errno    syscall.Errno
	peerFull bool // the socket is writable, but its peer's queue is full
	soft     bool // the last try is to be made again though no event will tell when
	grown    bool // the send buffer was enlarged for this datagram
}

func newFDDgram(fd int, udp bool, local, remote Addr) *fdDgram {
	s := &fdDgram{}
	s.init(fd, udp, local, remote)
	return s
}

func (s *fdDgram) init(fd int, udp bool, local, remote Addr) {
	s.udp, s.local, s.remote = udp, local, remote
	s.sys.fd = fd
	s.rd.op.init(&s.sys, false, s.tryRecv)
	s.wr.op.init(&s.sys, true, s.trySend)
}

// LocalAddr returns the address; the kernel chooses a port as late as with the
// first datagram that is sent.
func (s *fdDgram) LocalAddr() Addr {
	if s.local.kind != addrInet || s.local.port != 0 {
		return s.local
	}
	a := s.local
	_ = s.sys.control(func(fd int) error {
		a = sockName(fd)
		return nil
	})
	return a
}

func (s *fdDgram) RemoteAddr() Addr { return s.remote }

// base is how the options of a Dgram find it, also inside another type.
func (s *fdDgram) base() *fdDgram { return s }

// room returns memory for a datagram of n bytes: the caller's, if it is enough.
func (x *fdRecv) room(n int) []byte {
	if len(x.buf) >= n {
		return x.buf
	}
	if len(x.own) < n {
		x.own = make([]byte, max(n, 2048))
	}
	return x.own
}

// tryRecv receives once; false: it would wait.
func (s *fdDgram) tryRecv(fd int) bool {
	x := &s.rd
	for {
		size := maxUDP
		var errno syscall.Errno
		if !s.udp { // any size is possible: ask
			size, errno = nextSize(fd)
		}
		n, rawLen := 0, 0
		b := x.room(size)
		if errno == 0 {
			n, rawLen, errno = recvfrom(fd, b, &x.raw)
		}
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady, waitMemory:
			if s.mayHaveNotice() && s.takeNotice(fd) {
				return true
			}
			if errno != syscall.ENOMEM {
				return false
			}
		}
		s.idle = false
		if errno != 0 {
			if s.notices.Load() && s.takeNotice(fd) {
				return true
			}
			x.err = errno
			return true
		}
		x.data, x.src, x.err = b[:n], x.names.decode(&x.raw, rawLen), nil
		if n == 0 && s.ends {
			x.err = ErrEOF
		}
		return true
	}
}

// takeNotice makes the next notice the outcome, if there is one.
func (s *fdDgram) takeNotice(fd int) bool {
	n := recvNotice(fd)
	if n == nil {
		return false
	}
	s.suspect.Store(true) // there may be more
	s.rd.err = n
	return true
}

// RecvFrom waits for the next datagram.
func (s *fdDgram) RecvFrom(ctx context.Context, b []byte) ([]byte, Addr, error) {
	x := &s.rd
	x.buf = b
	err := s.transfer(ctx, &x.op, x.outcome)
	x.buf = nil
	if err != nil {
		return nil, Addr{}, err
	}
	return x.data, x.src, nil
}

func (x *fdRecv) outcome() error {
	if x.err == syscall.ENOMEM {
		return ErrAgain
	}
	return x.err
}

// TryRecvFrom returns the next datagram, or ErrAgain.
func (s *fdDgram) TryRecvFrom(b []byte) ([]byte, Addr, error) {
	x := &s.rd
	x.buf, x.err = b, nil
	done, err := x.op.now()
	x.buf = nil
	switch {
	case err != nil:
		return nil, Addr{}, err
	case !done || x.err == syscall.ENOMEM:
		return nil, Addr{}, ErrAgain
	case x.err != nil:
		return nil, Addr{}, x.err
	}
	return x.data, x.src, nil
}

// transfer runs op until it is done or ctx ends. ErrAgain from outcome means
// that it is to be tried again a little later.
func (s *fdDgram) transfer(ctx context.Context, op *fdOp, outcome func() error) error {
	delay := 100 * time.Microsecond
	for {
		err := op.run(ctx)
		switch {
		case err == nil:
			if err = outcome(); err == nil || err != ErrAgain {
				return err
			}
			pause(ctx, delay)
			delay = min(2*delay, 5*time.Millisecond)
		case err != errInterrupted:
			return err
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
	}
}

// trySend sends once; false: it would wait.
func (s *fdDgram) trySend(fd int) bool {
	x := &s.wr
	for {
		errno := sendto(fd, x.buf, &x.raw, x.rawLen)
		switch {
		case errno == syscall.EMSGSIZE && !x.grown:
			x.grown = true
			if growSendBuffer(fd, len(x.buf)) {
				continue
			}
		case errno != 0 && s.isStale(errno):
			continue
		}
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady:
			if s.udp || !writable(fd) {
				return false
			}
			// A unix socket that is not connected to the one whose queue is full
			// is writable all the time: no event will tell.
			x.peerFull = true
		}
		x.errno = errno
		return true
	}
}

// isStale reports whether errno is about another datagram than the one that is
// being sent, and was taken off the socket by the attempt to send. With notices on
// the receiver gets it as such.
func (s *fdDgram) isStale(errno syscall.Errno) bool {
	s.suspect.Store(true)
	if !s.notices.Load() || !s.remote.IsZero() || s.wr.grown {
		return false
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN,
		syscall.ENOPROTOOPT, syscall.EPROTO, syscall.EACCES, syscall.EOPNOTSUPP:
		s.wr.grown = true // once
		return true
	}
	return false
}

func writable(fd int) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p[:], 0)
	return err == nil && n == 1
}

// growSendBuffer makes the send buffer of the socket larger than n bytes,
// rounded up to KiB; false if it is so already, or it is not to be had.
func growSendBuffer(fd, n int) bool {
	n = (n + 1023) &^ 1023
	have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || have >= n {
		return false
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n) == nil
}

// SendTo waits until b is sent.
func (s *fdDgram) SendTo(ctx context.Context, b []byte, dst Addr) error {
	x := &s.wr
	x.prepare(b, dst)
	err := s.transfer(ctx, &x.op, s.sendOutcome)
	x.buf = nil
	return err
}

func (x *fdSend) prepare(b []byte, dst Addr) {
	x.buf, x.rawLen = b, dst.putRaw(&x.raw)
	x.errno, x.peerFull, x.soft, x.grown = 0, false, false, false
}

func (s *fdDgram) sendOutcome() error {
	x := &s.wr
	switch {
	case x.errno == 0:
		return nil
	case x.peerFull, x.errno == syscall.ENOMEM:
		x.peerFull, x.soft = false, true
		return ErrAgain
	}
	return x.errno
}

// TrySendTo sends b, or returns ErrAgain.
func (s *fdDgram) TrySendTo(b []byte, dst Addr) error {
	x := &s.wr
	x.prepare(b, dst)
	done, err := x.op.now()
	x.buf = nil
	switch {
	case err != nil:
		return err
	case !done:
		return ErrAgain
	}
	return s.sendOutcome()
}

// Disconnect closes the descriptor.
func (s *fdDgram) Disconnect(context.Context) error { return s.Close() }

// Close closes the descriptor.
func (s *fdDgram) Close() error {
	s.sys.close()
	s.rd.op.arm.close()
	s.wr.op.arm.close()
	return nil
}
