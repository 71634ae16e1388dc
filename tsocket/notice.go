package tsocket

import (
	"fmt"
	"syscall"
)

// Notice is what a network told about a datagram that was sent: it did not
// arrive, or it is too big for the path. RecvFrom and RecvBatch return it as the
// Err of an OpError, once, on a socket with Dgram.SetNotices on. errors.Is works with the
// errno it stands for.
type Notice struct {
	Dst      Addr // where the datagram went; without a port if this host refused it
	Offender Addr // who complains: a router, the destination; the zero Addr: this host
	Errno    syscall.Errno
	Type     uint8 // of the ICMP or ICMPv6 message; 0 from this host
	Code     uint8
	MTU      int    // with EMSGSIZE: what fits
	Data     []byte // the beginning of the datagram, as much as came back
}

func (n *Notice) Error() string {
	s := fmt.Sprintf("datagram to %v: %v", n.Dst, n.Errno)
	if n.MTU > 0 {
		s += fmt.Sprintf(" (path MTU %d)", n.MTU)
	}
	if !n.Offender.IsZero() && n.Offender.IP() != n.Dst.IP() {
		s += fmt.Sprintf(", says %v", n.Offender.IP())
	}
	return s
}

// Unwrap returns the errno.
func (n *Notice) Unwrap() error { return n.Errno }

// Notices returns whether RecvFrom and RecvBatch tell what became of datagrams that did not arrive: what SetNotices has
// set.
func (d *Dgram) Notices() (bool, error) {
	const op = "notices"
	if o, ok := d.ops.(NoticeOps); ok {
		on, err := o.Notices()
		return on, byOps(op, err)
	}
	s := d.base()
	if s == nil || !s.udp {
		return false, &OpError{Op: op, Err: ErrNotSupported}
	}
	return s.notices.Load(), nil
}

func (d *Dgram) setNotices(o NoticeOps, on bool) error {
	if err := o.SetNotices(on); err != nil {
		return &OpError{Op: "set notices", Err: err}
	}
	return nil
}
