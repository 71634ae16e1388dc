package nlconn

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	cmsgPktinfo  = 3 // NETLINK_PKTINFO: struct nl_pktinfo, the group
	cmsgNSID     = 8 // NETLINK_LISTEN_ALL_NSID
	controlSpace = 128
)

// receiver owns the vectors of recvmmsg. Everything the kernel writes to is
// allocated once; read is a method value made once, so that receiving
// allocates nothing.
type receiver struct {
	hdrs  []unix.Mmsghdr
	iovs  []unix.Iovec
	names []unix.RawSockaddrNetlink
	ctl   []byte
	bufs  []byte
	size  int

	read  func(fd uintptr) bool
	want  int
	n     int
	errno unix.Errno
}

func newReceiver(batch, size int) *receiver {
	size = (size + 7) &^ 7
	r := &receiver{
		hdrs:  make([]unix.Mmsghdr, batch),
		iovs:  make([]unix.Iovec, batch),
		names: make([]unix.RawSockaddrNetlink, batch),
		ctl:   make([]byte, batch*controlSpace),
		bufs:  make([]byte, batch*size),
		size:  size,
	}
	for i := range r.hdrs {
		r.iovs[i].Base = &r.bufs[i*size]
		r.iovs[i].SetLen(size)
		h := &r.hdrs[i].Hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = &r.ctl[i*controlSpace]
		r.arm(i)
	}
	r.read = r.recvmmsg
	return r
}

// arm resets what the kernel overwrote in slot i.
func (r *receiver) arm(i int) {
	h := &r.hdrs[i].Hdr
	h.Namelen = unix.SizeofSockaddrNetlink
	h.SetControllen(controlSpace)
	h.Flags = 0
}

// recvmmsg runs under the poller: false waits for the socket to be readable.
// A pending ENOBUFS is returned before queued datagrams; one that comes up
// between two of them is kept by the kernel for the next call.
func (r *receiver) recvmmsg(fd uintptr) bool {
	for i := range r.n {
		r.arm(i)
	}
	r.n = 0
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.hdrs[0])), uintptr(r.want), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			r.n, r.errno = int(n), 0
		default:
			r.errno = errno
		}
		return true
	}
}

// datagram describes slot i.
func (r *receiver) datagram(i int, d *Datagram) {
	h := &r.hdrs[i]
	n := min(int(h.Len), r.size)
	*d = Datagram{
		Data:      r.bufs[i*r.size : i*r.size+n : i*r.size+n],
		Truncated: h.Hdr.Flags&unix.MSG_TRUNC != 0,
		Port:      r.names[i].Pid,
		NSID:      -1,
	}
	ctl := r.ctl[i*controlSpace : i*controlSpace+min(int(h.Hdr.Controllen), controlSpace)]
	for len(ctl) >= unix.SizeofCmsghdr {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&ctl[0]))
		l := int(c.Len)
		if l < unix.SizeofCmsghdr || l > len(ctl) {
			return
		}
		d.control(c.Level, c.Type, ctl[unix.CmsgLen(0):l])
		ctl = ctl[min(unix.CmsgSpace(l-unix.CmsgLen(0)), len(ctl)):]
	}
}

func (d *Datagram) control(level, typ int32, b []byte) {
	switch {
	case level == unix.SOL_SOCKET && typ == unix.SCM_CREDENTIALS && len(b) >= unix.SizeofUcred:
		u := (*unix.Ucred)(unsafe.Pointer(&b[0]))
		d.Cred.UID, d.Cred.GID, d.Cred.PID = u.Uid, u.Gid, uint32(u.Pid)
		d.HasCred = true
	case level == unix.SOL_NETLINK && typ == cmsgPktinfo && len(b) >= 4:
		d.Group = *(*uint32)(unsafe.Pointer(&b[0]))
	case level == unix.SOL_NETLINK && typ == cmsgNSID && len(b) >= 4:
		d.NSID = *(*int32)(unsafe.Pointer(&b[0]))
	}
}
