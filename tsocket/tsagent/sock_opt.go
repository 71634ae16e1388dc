package tsagent

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// Option is what SETOPT and GETOPT are about, their arg. The body has its values, 8 bytes each.
type Option uint64

// The options. Times are in nanoseconds; flags are 0 or 1.
const (
	OptNoDelay     Option = 1 + iota // stream: a flag
	OptKeepAlive                     // stream: idle (negative: off), interval, count; 0 as the system has it
	OptUserTimeout                   // stream: a time
	OptBuffers                       // receive, send; 0 leaves one as it is
	OptBroadcast                     // datagrams: a flag
	OptV6Only                        // a flag: sockets of IPv6 are for IPv6 only, so it cannot be taken back
	OptNotices                       // datagrams: a flag, see tsocket's Dgram.SetNotices
	OptMTUMode                       // datagrams: see tsocket.MTUMode
	OptPathMTU                       // datagrams: only to be got
)

var optNames = [...]string{
	OptNoDelay: "nodelay", OptKeepAlive: "keepalive", OptUserTimeout: "usertimeout", OptBuffers: "buffers", OptBroadcast: "broadcast",
	OptV6Only: "v6only", OptNotices: "notices", OptMTUMode: "mtumode", OptPathMTU: "pathmtu",
}

var optValues = [...]int{
	OptNoDelay: 1, OptKeepAlive: 3, OptUserTimeout: 1, OptBuffers: 2, OptBroadcast: 1, OptV6Only: 1, OptNotices: 1, OptMTUMode: 1,
	OptPathMTU: 1,
}

// values returns how many values the option has; 0: there is no such option.
func (o Option) values() int {
	if o >= OptNoDelay && o <= OptPathMTU {
		return optValues[o]
	}
	return 0
}

// String returns the name in lower case: "nodelay"; "option 99" where there is none.
func (o Option) String() string {
	if o >= OptNoDelay && o <= OptPathMTU {
		return optNames[o]
	}
	return fmt.Sprintf("option %d", uint64(o))
}

func errOption(o Option, what string) error {
	return &Error{syscall.ENOPROTOOPT, fmt.Sprintf("%v: %s", o, what)}
}

// setOpt sets an option of a socket that is open.
func (s *sock) setOpt(r *request) error {
	opt := Option(r.h.Arg)
	if opt < OptNoDelay || opt > OptPathMTU {
		return errOption(opt, "there is no such option")
	}
	if len(r.body) != 8*optValues[opt] || opt == OptPathMTU {
		return errValues
	}
	var v [3]int64
	for i := range optValues[opt] {
		v[i] = int64(native.Uint64(r.body[8*i:]))
	}
	s.mu.Lock()
	err := s.openForOpt()
	stream, dgram := s.stream, s.dgram
	s.mu.Unlock()
	switch {
	case err != nil:
	case opt == OptV6Only:
		err = s.setV6Only(v[0])
	case stream != nil:
		err = setStreamOpt(stream, opt, v)
	case opt == OptBroadcast && v[0] != 0:
		if err = s.allow(OpSetOpt, tsocket.Addr{}); err == nil {
			err = setDgramOpt(dgram, opt, v)
		}
	default:
		err = setDgramOpt(dgram, opt, v)
	}
	if err == nil {
		r.done(s.num, 0, nil)
	}
	return err
}

// openForOpt: a datagram socket is opened for its first option, s.mu held.
func (s *sock) openForOpt() error {
	switch {
	case s.kind == kindDgram:
		return s.makeDgram()
	case s.stream == nil:
		return errNotConnected
	}
	return nil
}

func (s *sock) setV6Only(on int64) error {
	if s.family != unix.AF_INET6 || on == 0 {
		return errOption(OptV6Only, "sockets of IPv6 are for IPv6 only, and others not at all")
	}
	return nil
}

func clampInt(v int64) int { return int(min(max(v, 0), 1<<30)) }

func setStreamOpt(s *tsocket.Stream, opt Option, v [3]int64) error {
	switch opt {
	case OptNoDelay:
		return s.SetNoDelay(v[0] != 0)
	case OptKeepAlive:
		return s.SetKeepAlive(time.Duration(v[0]), time.Duration(v[1]), clampInt(v[2]))
	case OptUserTimeout:
		return s.SetUserTimeout(time.Duration(v[0]))
	case OptBuffers:
		return s.SetBuffers(clampInt(v[0]), clampInt(v[1]))
	}
	return errOption(opt, "not an option of a stream")
}

func setDgramOpt(d *tsocket.Dgram, opt Option, v [3]int64) error {
	switch opt {
	case OptBuffers:
		return d.SetBuffers(clampInt(v[0]), clampInt(v[1]))
	case OptBroadcast:
		return d.SyscallFD(func(fd int) error {
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, int(min(v[0], 1)))
		})
	case OptNotices:
		return d.SetNotices(v[0] != 0)
	case OptMTUMode:
		return d.SetMTUMode(tsocket.MTUMode(v[0]))
	}
	return errOption(opt, "not an option of datagrams")
}

// getOpt tells an option, in the form in which it is set.
func (s *sock) getOpt(r *request) error {
	opt := Option(r.h.Arg)
	if len(r.body) != 0 {
		return errValues
	}
	s.mu.Lock()
	err := s.openForOpt()
	stream, dgram := s.stream, s.dgram
	s.mu.Unlock()
	if err != nil {
		return err
	}
	v, err := getSockOpt(stream, dgram, s.family, opt)
	if err != nil {
		return err
	}
	var b []byte
	for _, x := range v[:opt.values()] {
		b = native.AppendUint64(b, uint64(x))
	}
	r.done(s.num, uint32(opt), b)
	return nil
}

// getSockOpt gets an option of a stream, or of a datagram socket if that is nil.
func getSockOpt(stream *tsocket.Stream, dgram *tsocket.Dgram, family int, opt Option) (v [3]int64, err error) {
	control := dgram.SyscallFD
	if stream != nil {
		control = stream.SyscallFD
	}
	get := func(i, level, name int) error {
		return control(func(fd int) error {
			n, err := unix.GetsockoptInt(fd, level, name)
			v[i] = int64(n)
			return err
		})
	}
	switch {
	case opt == OptBuffers:
		if err = get(0, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			err = get(1, unix.SOL_SOCKET, unix.SO_SNDBUF)
		}
	case opt == OptV6Only && family == unix.AF_INET6:
		err = get(0, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	case opt == OptNoDelay && stream != nil:
		err = get(0, unix.IPPROTO_TCP, unix.TCP_NODELAY)
	case opt == OptKeepAlive && stream != nil:
		var idle, interval time.Duration
		var count int
		idle, interval, count, err = stream.KeepAlive()
		v = [3]int64{int64(idle), int64(interval), int64(count)}
	case opt == OptUserTimeout && stream != nil:
		var d time.Duration
		d, err = stream.UserTimeout()
		v[0] = int64(d)
	case stream != nil:
		err = errOption(opt, "not to be got from this socket")
	case opt == OptBroadcast:
		err = get(0, unix.SOL_SOCKET, unix.SO_BROADCAST)
	case opt == OptNotices:
		var on bool
		on, err = dgram.Notices()
		v[0] = flag(on)
	case opt == OptMTUMode:
		var m tsocket.MTUMode
		m, err = dgram.MTUMode()
		v[0] = int64(m)
	case opt == OptPathMTU:
		var mtu int
		mtu, err = dgram.PathMTU()
		v[0] = int64(mtu)
	default:
		err = errOption(opt, "not to be got from this socket")
	}
	return v, err
}
