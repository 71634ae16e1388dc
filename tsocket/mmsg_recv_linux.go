package tsocket

import (
	"encoding/binary"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// struct mmsghdr; its size is a multiple of a pointer's.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const (
	// batchMax is how many datagrams, or pieces, one system call moves.
	batchMax = 64
	// groPieces is how many pieces are asked for; each is up to 64 KiB.
	groPieces = 8
	// smallSlot is more than a path of 1500 bytes takes. Small slots lie side by
	// side, which the processor's caches like better than one slot for all sizes each.
	smallSlot = 2048
	// slotStride is the room for one datagram of any size, and a little, lest
	// all of them begin in the same set of the processor's cache.
	slotStride = maxUDP + 4096 + 128
)

// mmsgIn is the batch that is being received. Its memory is made when it is
// first needed, for as many as are asked for; of the room for the largest datagrams only what is
// used becomes memory of the machine.
type mmsgIn struct {
	op   fdOp
	gro  atomic.Bool
	msgs []Message // of the caller; nil: receive pieces
	into []Piece   // memory of the caller for pieces; nil: slots
	n    int
	err  error

	hdrs  []mmsghdr
	iovs  []unix.Iovec // two for each
	names []rawSockaddr
	small []byte // room for the usual datagram, where the caller gives none
	slots []byte // room for any
	oob   [groPieces][64]byte

	// The pieces that are not taken apart yet.
	pieces, piece, off int
	sizes              [groPieces]struct{ all, each int }
	src                Addr
}

func (x *mmsgIn) outcome() error {
	if x.err == syscall.ENOMEM {
		return ErrAgain
	}
	return x.err
}

func (x *mmsgIn) grow(n int) {
	if len(x.hdrs) >= n {
		return
	}
	x.hdrs = make([]mmsghdr, n)
	x.iovs = make([]unix.Iovec, 2*n)
	x.names = make([]rawSockaddr, n)
	x.small = make([]byte, n*smallSlot)
	for i := range x.hdrs {
		h := &x.hdrs[i].hdr
		h.Name = (*byte)(x.names[i].pointer())
		h.Iov = &x.iovs[2*i]
		if i < groPieces {
			h.Control = &x.oob[i][0]
		}
	}
}

func (x *mmsgIn) slot(i int) []byte {
	if len(x.slots) < len(x.hdrs)*slotStride {
		x.slots = make([]byte, len(x.hdrs)*slotStride)
	}
	return x.slots[i*slotStride:][:maxUDP]
}

// tryRecvBatch receives once; false: it would wait.
func (s *udpDgram) tryRecvBatch(fd int) bool {
	x := &s.in
	for {
		n := s.prepareRecv()
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&x.hdrs[0])), uintptr(n), 0, 0, 0)
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady:
			if s.mayHaveNotice() {
				if notice := recvNotice(fd); notice != nil {
					s.suspect.Store(true) // there may be more
					x.err = notice
					return true
				}
			}
			return false
		}
		s.idle = false
		if errno != 0 {
			x.err = errno
			if s.notices.Load() {
				if notice := recvNotice(fd); notice != nil {
					x.err = notice
				}
			}
			return true
		}
		x.err, x.n = nil, int(got)
		s.received(int(got))
		return true
	}
}

// prepareRecv points the headers at memory for every datagram and returns
// their number.
func (s *udpDgram) prepareRecv() int {
	x := &s.in
	if x.msgs == nil {
		x.grow(groPieces)
		count := groPieces
		if x.into != nil {
			count = min(count, len(x.into))
		}
		for i := range count {
			h := &x.hdrs[i].hdr
			h.Namelen = sizeSockaddrU
			if x.into != nil {
				setIovec(&x.iovs[2*i], x.into[i].Buf)
			} else {
				setIovec(&x.iovs[2*i], x.slot(i))
			}
			h.SetIovlen(1)
			h.SetControllen(len(x.oob[i]))
		}
		return count
	}
	n := min(len(x.msgs), batchMax)
	x.grow(n)
	for i := range n {
		h := &x.hdrs[i].hdr
		h.Namelen = sizeSockaddrU
		h.SetControllen(0)
		b := x.buf(i)
		iov := x.iovs[2*i : 2*i+2]
		setIovec(&iov[0], b)
		h.SetIovlen(1)
		if len(b) < maxUDP {
			// What does not fit goes where it would be if all of it were there.
			setIovec(&iov[1], x.slot(i)[len(b):])
			h.SetIovlen(2)
		}
	}
	return n
}

// buf returns the memory for the datagram of msgs[i], if it fits.
func (x *mmsgIn) buf(i int) []byte {
	if b := x.msgs[i].Buf; len(b) > 0 {
		return b
	}
	return x.small[i*smallSlot:][:smallSlot]
}

func setIovec(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

// received stores what came.
func (s *udpDgram) received(n int) {
	x := &s.in
	if x.msgs == nil {
		for i := range n {
			all := int(x.hdrs[i].n)
			x.sizes[i].all, x.sizes[i].each = all, segmentSize(x.oob[i][:], x.hdrs[i].hdr.Controllen, all)
		}
		if x.into != nil {
			for i := range n {
				p, size := &x.into[i], x.sizes[i]
				p.Data, p.Size, p.Addr = p.Buf[:size.all:size.all], min(size.each, size.all), s.source(i)
			}
			return
		}
		x.pieces, x.piece, x.off = n, 0, 0
		x.src = s.source(0)
		return
	}
	for i := range n {
		m := &x.msgs[i]
		size := int(x.hdrs[i].n)
		m.Addr = s.source(i)
		b := x.buf(i)
		if size <= len(b) {
			m.Data = b[:size:size]
			continue
		}
		copy(x.slot(i), b)
		m.Data = x.slot(i)[:size:size]
	}
}

func (s *udpDgram) source(i int) Addr {
	return s.rd.names.decode(&s.in.names[i], int(s.in.hdrs[i].hdr.Namelen))
}

// segmentSize returns how long each datagram of a piece is, but for the last,
// which may be shorter.
func segmentSize[N ~int | ~uint32 | ~uint64](oob []byte, n N, all int) int {
	const head = unix.SizeofCmsghdr
	for b := oob[:min(int(n), len(oob))]; len(b) >= head+4; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO {
			if each := int(binary.NativeEndian.Uint32(b[unix.CmsgLen(0):])); each > 0 {
				return each
			}
			break
		}
		step := unix.CmsgSpace(int(h.Len) - unix.CmsgLen(0))
		if step <= 0 || step > len(b) {
			break
		}
		b = b[step:]
	}
	return all
}

// next returns the next datagram of the pieces that were received.
func (x *mmsgIn) next() ([]byte, Addr, bool) {
	if x.piece >= x.pieces {
		return nil, Addr{}, false
	}
	size := &x.sizes[x.piece]
	end := min(x.off+size.each, size.all)
	data, src := x.slot(x.piece)[x.off:end:end], x.src
	if x.off = end; end == size.all {
		x.off = 0
		if x.piece++; x.piece < x.pieces {
			a, err := AddrFromRaw(x.names[x.piece][:min(int(x.hdrs[x.piece].hdr.Namelen), sizeSockaddrU)])
			if err != nil {
				a = Addr{}
			}
			x.src = a
		}
	}
	return data, src, true
}

// take moves datagrams of the pieces into msgs.
func (x *mmsgIn) take(msgs []Message) int {
	n := 0
	for ; n < len(msgs); n++ {
		data, src, ok := x.next()
		if !ok {
			break
		}
		m := &msgs[n]
		m.Addr = src
		if len(m.Buf) > 0 && len(data) <= len(m.Buf) {
			m.Data = m.Buf[:copy(m.Buf, data)]
		} else {
			m.Data = data
		}
	}
	return n
}
