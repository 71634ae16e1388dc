package tsocket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// segmentsMax is how many datagrams the kernel takes as one piece, and
	// pieceMax how many bytes, in IPv6 too.
	segmentsMax = 64
	pieceMax    = 65535 - 40 - 8
	// vectorsMax is how many datagrams one system call sends, in all pieces.
	vectorsMax = 1024
)

// mmsgOut is the batch that is being sent.
type mmsgOut struct {
	op    fdOp
	msgs  []Message // what is left to send
	n     int       // how many were sent
	errno syscall.Errno
	stale bool // the error of an earlier datagram was taken off the socket

	// Pieces of datagrams of this size and more are not taken: the path is too
	// narrow, or (1) the kernel or the device cannot.
	tooBig int

	hdrs   []mmsghdr
	iovs   []unix.Iovec
	names  []rawSockaddr
	oob    []segmentOption
	counts []int // of datagrams in each piece
}

// segmentOption is the control message that says how long the datagrams of a
// piece are.
type segmentOption struct {
	head unix.Cmsghdr
	size uint16
	_    [6]byte
}

func (x *mmsgOut) prepare(msgs []Message) {
	x.msgs, x.n, x.errno, x.stale = msgs, 0, 0, false
	if x.hdrs == nil {
		x.hdrs = make([]mmsghdr, batchMax)
		x.names = make([]rawSockaddr, batchMax)
		x.oob = make([]segmentOption, batchMax)
		x.counts = make([]int, batchMax)
	}
}

func (x *mmsgOut) outcome() error { return again(x.errno) }

// trySendBatch sends until all is sent; false: it would wait.
func (s *udpDgram) trySendBatch(fd int) bool {
	x := &s.out
	x.errno = 0
	for len(x.msgs) > 0 {
		n := x.build()
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&x.hdrs[0])), uintptr(n), unix.MSG_NOSIGNAL, 0, 0)
		clear(x.iovs)
		if errno != 0 || int(sent) < n {
			s.suspect.Store(true) // it may have met an error that the receiver waits for
		}
		if errno == 0 {
			for _, count := range x.counts[:sent] {
				x.n += count
				x.msgs = x.msgs[count:]
			}
			continue
		}
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady:
			return false
		}
		if x.mayRetry(s, errno) {
			continue
		}
		if errno == syscall.EMSGSIZE {
			// As in SendTo: perhaps the send buffer is too small.
			s.wr.prepare(x.msgs[0].Data, x.msgs[0].Addr)
			done := s.trySend(fd)
			s.wr.buf = nil
			if !done {
				return false
			}
			if errno = s.wr.errno; errno == 0 {
				x.n++
				x.msgs = x.msgs[1:]
				continue
			}
		}
		x.errno = errno
		return true
	}
	return true
}

// mayRetry reports whether the first piece is to be sent again: as single
// datagrams, or because the error was not its own.
func (x *mmsgOut) mayRetry(s *udpDgram, errno syscall.Errno) bool {
	if x.counts[0] > 1 {
		switch errno {
		case syscall.EMSGSIZE, syscall.EINVAL:
			x.tooBig = len(x.msgs[0].Data)
			return true
		case syscall.EIO, syscall.EOPNOTSUPP, syscall.ENOPROTOOPT:
			x.tooBig = 1
			return true
		}
	}
	if x.stale {
		return false
	}
	s.wr.grown = false
	x.stale = s.isStale(errno)
	return x.stale
}

// build points the headers at the next datagrams, neighbours of one length and
// destination as one piece, and returns the number of pieces.
func (x *mmsgOut) build() int {
	x.iovs = x.iovs[:0]
	if cap(x.iovs) < min(len(x.msgs), vectorsMax) {
		x.iovs = make([]unix.Iovec, 0, min(len(x.msgs), vectorsMax)) // never moves below
	}
	n, i := 0, 0
	for n < batchMax && i < len(x.msgs) && len(x.iovs) < cap(x.iovs) {
		count := x.piece(x.msgs[i:])
		h := &x.hdrs[n].hdr
		*h = unix.Msghdr{}
		if rawLen := x.msgs[i].Addr.putRaw(&x.names[n]); rawLen > 0 {
			h.Name, h.Namelen = (*byte)(x.names[n].pointer()), uint32(rawLen)
		}
		first := len(x.iovs)
		for _, m := range x.msgs[i : i+count] {
			x.iovs = append(x.iovs, unix.Iovec{Base: unsafe.SliceData(m.Data)})
			x.iovs[len(x.iovs)-1].SetLen(len(m.Data))
		}
		h.Iov = &x.iovs[first]
		h.SetIovlen(count)
		if count > 1 {
			o := &x.oob[n]
			o.head.Level, o.head.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
			o.head.SetLen(unix.CmsgLen(2))
			o.size = uint16(len(x.msgs[i].Data))
			h.Control = (*byte)(unsafe.Pointer(o))
			h.SetControllen(unix.CmsgSpace(2))
		}
		x.counts[n] = count
		n++
		i += count
	}
	return n
}

// piece returns how many of msgs can go as one piece.
func (x *mmsgOut) piece(msgs []Message) int {
	size := len(msgs[0].Data)
	if x.tooBig > 0 && size >= x.tooBig {
		return 1
	}
	limit := min(len(msgs), segmentsMax, cap(x.iovs)-len(x.iovs), max(pieceMax/size, 1))
	for i := 1; i < limit; i++ {
		if n := len(msgs[i].Data); n != size || msgs[i].Addr != msgs[0].Addr {
			if n < size && msgs[i].Addr == msgs[0].Addr {
				return i + 1 // the last one may be shorter
			}
			return i
		}
	}
	return max(limit, 1)
}
