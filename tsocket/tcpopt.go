package tsocket

import (
	"time"

	"golang.org/x/sys/unix"
)

// setOption sets options of the stream's socket, or reads them. The OpError's Err is
// ErrNotSupported for a stream that is no socket, ErrClosed, or the errno: ENOPROTOOPT or
// EOPNOTSUPP if it is no TCP socket.
func (s *Stream) setOption(op string, set func(fd int) error) error {
	f, ok := s.ops.(*fdStream)
	if !ok {
		return &OpError{Op: op, Err: ErrNotSupported}
	}
	if err := f.sys.control(set); err != nil {
		return &OpError{Op: op, Err: err}
	}
	return nil
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// SetNoDelay says whether TCP sends small pieces at once instead of waiting for
// more to go with them. It is off at first, as the kernel has it.
func (s *Stream) SetNoDelay(on bool) error {
	if o, ok := s.ops.(TCPOps); ok {
		return byOps("set no delay", o.SetNoDelay(on))
	}
	return s.setOption("set no delay", func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, flag(on))
	})
}

// SetKeepAlive has TCP ask an idle peer whether it is still there, after idle,
// then every interval, and give the connection up after count unanswered
// questions; the error of the stream is then ETIMEDOUT. Seconds count; a zero leaves what the system
// has. idle < 0 switches it off.
func (s *Stream) SetKeepAlive(idle, interval time.Duration, count int) error {
	if o, ok := s.ops.(TCPOps); ok {
		return byOps("set keep-alive", o.SetKeepAlive(idle, interval, count))
	}
	return s.setOption("set keep-alive", func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, flag(idle >= 0)); err != nil || idle < 0 {
			return err
		}
		for _, o := range []struct{ name, value int }{
			{tcpKeepIdle, seconds(idle)},
			{unix.TCP_KEEPINTVL, seconds(interval)},
			{unix.TCP_KEEPCNT, count},
		} {
			if o.value <= 0 {
				continue
			}
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, o.name, o.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeepAlive returns what SetKeepAlive has set, or the system has; idle is -1 if TCP does not ask.
func (s *Stream) KeepAlive() (idle, interval time.Duration, count int, err error) {
	const op = "keep-alive"
	if o, ok := s.ops.(TCPOps); ok {
		idle, interval, count, err = o.KeepAlive()
		return idle, interval, count, byOps(op, err)
	}
	var v [3]int
	on := 0
	err = s.setOption(op, func(fd int) error {
		for i, name := range [...]int{tcpKeepIdle, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT} {
			n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, name)
			if err != nil {
				return err
			}
			v[i] = n
		}
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		on = n
		return err
	})
	if err != nil {
		return 0, 0, 0, err
	}
	if idle = time.Duration(v[0]) * time.Second; on == 0 {
		idle = -1
	}
	return idle, time.Duration(v[1]) * time.Second, v[2], nil
}

// seconds rounds up: a little is not nothing.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// SetUserTimeout says how long written data may stay unacknowledged before TCP
// gives the connection up, with the error ETIMEDOUT; 0 is what the system has. ErrNotSupported
// where there is no such thing (Linux: TCP_USER_TIMEOUT, milliseconds).
func (s *Stream) SetUserTimeout(d time.Duration) error {
	if o, ok := s.ops.(TCPOps); ok {
		return byOps("set user timeout", o.SetUserTimeout(d))
	}
	return s.setOption("set user timeout", func(fd int) error { return setUserTimeout(fd, d) })
}

// UserTimeout returns what SetUserTimeout has set, 0 if nothing has.
func (s *Stream) UserTimeout() (d time.Duration, err error) {
	const op = "user timeout"
	if o, ok := s.ops.(TCPOps); ok {
		d, err = o.UserTimeout()
		return d, byOps(op, err)
	}
	err = s.setOption(op, func(fd int) (err error) {
		d, err = getUserTimeout(fd)
		return err
	})
	return d, err
}

// SetBuffers sets the sizes of the kernel's buffers for receiving and sending;
// 0 leaves one as it is.
func (s *Stream) SetBuffers(receive, send int) error {
	if o, ok := s.ops.(BufferOps); ok {
		return byOps("set buffers", o.SetBuffers(receive, send))
	}
	return s.setOption("set buffers", func(fd int) error { return setBuffers(fd, receive, send) })
}

// SetBuffers sets the sizes of the kernel's buffers for receiving and sending;
// 0 leaves one as it is.
func (d *Dgram) SetBuffers(receive, send int) error {
	if o, ok := d.ops.(BufferOps); ok {
		return byOps("set buffers", o.SetBuffers(receive, send))
	}
	s := d.base()
	if s == nil {
		return &OpError{Op: "set buffers", Err: ErrNotSupported}
	}
	if err := s.sys.control(func(fd int) error { return setBuffers(fd, receive, send) }); err != nil {
		return &OpError{Op: "set buffers", Err: err}
	}
	return nil
}

func setBuffers(fd, receive, send int) error {
	for _, o := range []struct{ name, value int }{{unix.SO_RCVBUF, receive}, {unix.SO_SNDBUF, send}} {
		if o.value <= 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

// SyscallFD calls fn with the descriptor of the stream, for an option that
// there is no method for. fn must not close it, nor change its mode, nor keep it. ErrNotSupported for a
// stream without one, ErrClosed; otherwise what fn returns.
func (s *Stream) SyscallFD(fn func(fd int) error) error {
	f, ok := s.ops.(*fdStream)
	if !ok {
		return &OpError{Op: "descriptor", Err: ErrNotSupported}
	}
	return f.sys.control(func(fd int) error {
		f.asking.Add(1) // it may take its time, and may ask why the connection is broken
		defer f.asking.Add(-1)
		return fn(fd)
	})
}

// SyscallFD calls fn with the descriptor of the socket; see Stream.SyscallFD.
func (d *Dgram) SyscallFD(fn func(fd int) error) error {
	s := d.base()
	if s == nil {
		return &OpError{Op: "descriptor", Err: ErrNotSupported}
	}
	return s.sys.control(fn)
}
