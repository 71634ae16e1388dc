package tsocket

import (
	"time"

	"golang.org/x/sys/unix"
)

const tcpKeepIdle = unix.TCP_KEEPIDLE

func setUserTimeout(fd int, d time.Duration) error {
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, ms)
}

func getUserTimeout(fd int) (time.Duration, error) {
	ms, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	return time.Duration(ms) * time.Millisecond, err
}

// MTUMode says what UDP does about datagrams that are larger than the path takes.
type MTUMode int

// The modes of Dgram.SetMTUMode.
const (
	MTUFragment MTUMode = unix.IP_PMTUDISC_DONT  // cut them up, on the way too
	MTUSystem   MTUMode = unix.IP_PMTUDISC_WANT  // cut them up here, to the size that is known
	MTURefuse   MTUMode = unix.IP_PMTUDISC_DO    // refuse them with EMSGSIZE
	MTUProbe    MTUMode = unix.IP_PMTUDISC_PROBE // send them whole, whatever is known
)

// SetMTUMode says what is to be done about datagrams that are larger than the
// path takes. With MTURefuse and MTUProbe and Dgram.SetNotices a Notice with EMSGSIZE
// tells what fits.
func (d *Dgram) SetMTUMode(m MTUMode) error {
	if o, ok := d.ops.(MTUOps); ok {
		return byOps("set MTU mode", o.SetMTUMode(m))
	}
	return d.ipOption("set MTU mode", func(fd int, v4 bool) error {
		if v4 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, int(m))
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, int(m))
	})
}

// MTUMode returns what SetMTUMode has set, or the system has: MTUSystem, as a rule.
func (d *Dgram) MTUMode() (m MTUMode, err error) {
	const op = "MTU mode"
	if o, ok := d.ops.(MTUOps); ok {
		m, err = o.MTUMode()
		return m, byOps(op, err)
	}
	err = d.ipOption(op, func(fd int, v4 bool) error {
		level, name := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER
		if !v4 {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER
		}
		n, err := unix.GetsockoptInt(fd, level, name)
		m = MTUMode(n)
		return err
	})
	return m, err
}

// PathMTU returns the largest packet, with all headers, that is known to get to
// the peer; ENOTCONN if the socket is not connected.
func (d *Dgram) PathMTU() (int, error) {
	if o, ok := d.ops.(MTUOps); ok {
		n, err := o.PathMTU()
		return n, byOps("path MTU", err)
	}
	n := 0
	err := d.ipOption("path MTU", func(fd int, v4 bool) (err error) {
		if v4 {
			n, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
		} else {
			n, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
		}
		return err
	})
	return n, err
}

func (d *Dgram) ipOption(op string, fn func(fd int, v4 bool) error) error {
	s := d.base()
	if s == nil || !s.udp {
		return &OpError{Op: op, Err: ErrNotSupported}
	}
	if err := s.sys.control(func(fd int) error { return fn(fd, s.local.is4()) }); err != nil {
		return &OpError{Op: op, Err: err}
	}
	return nil
}
