package tsagent_test

import (
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// option is an option of the agent's socket with that local address, which is one of this process.
func option(t testing.TB, local tsocket.Addr, level, name int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		require.NoError(t, err)
		sa, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		in, ok := sa.(*unix.SockaddrInet4)
		if !ok || in.Port != int(local.Port()) || in.Addr != local.IP().As4() {
			continue
		}
		if on, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); on != 0 {
			continue
		}
		v, err := unix.GetsockoptInt(fd, level, name)
		require.NoError(t, err)
		return v
	}
	require.Fail(t, "no such socket", "%v", local)
	return 0
}

// The options of streams that are set over the bus are those of the kernel's socket.
func TestOptionsOfStreams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		a, err := s.client(t).DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		get := func(level, name int) int { return option(t, a.LocalAddr(), level, name) }
		for _, on := range []int{0, 1} {
			require.NoError(t, a.SetNoDelay(on == 1))
			require.Equal(t, on, get(unix.IPPROTO_TCP, unix.TCP_NODELAY))
		}
		require.NoError(t, a.SetKeepAlive(70*time.Second, 7*time.Second, 5))
		require.Equal(t, 1, get(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
		require.Equal(t, 70, get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
		require.Equal(t, 7, get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
		require.Equal(t, 5, get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
		require.NoError(t, a.SetKeepAlive(-1, 0, 0))
		require.Zero(t, get(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
		require.NoError(t, a.SetUserTimeout(3*time.Second))
		require.Equal(t, 3000, get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT))
		require.NoError(t, a.SetBuffers(40_000, 50_000))
		require.Equal(t, 80_000, get(unix.SOL_SOCKET, unix.SO_RCVBUF), "the kernel doubles it")
		require.Equal(t, 100_000, get(unix.SOL_SOCKET, unix.SO_SNDBUF))
	})
}

// What is set can be read, by the same methods on a socket of the process and on one of the agent.
func TestOptionsAreRead(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		l, err := tsocket.ListenTCP(local4(0), nil)
		require.NoError(t, err)
		defer l.Close()
		c := s.client(t)
		direct, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		defer direct.Close()
		far, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		for _, a := range []*tsocket.Stream{direct, far} {
			idle, _, _, err := a.KeepAlive()
			require.NoError(t, err)
			require.EqualValues(t, -1, idle, "it is off at first")
			require.NoError(t, a.SetKeepAlive(70*time.Second, 7*time.Second, 5))
			idle, interval, count, err := a.KeepAlive()
			require.NoError(t, err)
			require.Equal(t, []any{70 * time.Second, 7 * time.Second, 5}, []any{idle, interval, count})
			d, err := a.UserTimeout()
			require.NoError(t, err)
			require.Zero(t, d)
			require.NoError(t, a.SetUserTimeout(1500*time.Millisecond))
			d, err = a.UserTimeout()
			require.NoError(t, err)
			require.Equal(t, 1500*time.Millisecond, d)
		}

		udp, err := tsocket.UDP(local4(0), tsocket.Addr{})
		require.NoError(t, err)
		defer udp.Close()
		farUDP, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		for _, d := range []*tsocket.Dgram{udp, farUDP} {
			m, err := d.MTUMode()
			require.NoError(t, err)
			require.Equal(t, tsocket.MTUSystem, m)
			for _, want := range []tsocket.MTUMode{tsocket.MTUProbe, tsocket.MTUFragment} {
				require.NoError(t, d.SetMTUMode(want))
				m, err = d.MTUMode()
				require.NoError(t, err)
				require.Equal(t, want, m)
			}
			for _, want := range []bool{true, false} {
				require.NoError(t, d.SetNotices(want))
				on, err := d.Notices()
				require.NoError(t, err)
				require.Equal(t, want, on)
			}
		}

		r := s.raw(t)
		x := r.open(unix.AF_INET, unix.SOCK_DGRAM)
		get := func(o tsagent.Option) tsagent.Header {
			return tsagent.Header{Op: tsagent.OpGetOpt, Sock: x, Arg: uint64(o)}
		}
		for _, o := range []tsagent.Option{tsagent.OptKeepAlive, tsagent.OptUserTimeout, tsagent.OptNoDelay, tsagent.OptV6Only, 0, 99} {
			r.refuse(syscall.ENOPROTOOPT, get(o), nil)
		}
		reply, b := r.must(get(tsagent.OptNotices))
		require.Equal(t, within(0), b)
		require.EqualValues(t, tsagent.OptNotices, reply.Value)
	})
}

// So are those of datagram sockets.
func TestOptionsOfDatagrams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		c := s.client(t)
		d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		get := func(level, name int) int { return option(t, d.LocalAddr(), level, name) }
		require.NoError(t, d.SetBuffers(40_000, 50_000))
		require.Equal(t, 80_000, get(unix.SOL_SOCKET, unix.SO_RCVBUF))
		require.Equal(t, 100_000, get(unix.SOL_SOCKET, unix.SO_SNDBUF))
		require.NoError(t, d.SetMTUMode(tsocket.MTUProbe))
		require.Equal(t, unix.IP_PMTUDISC_PROBE, get(unix.IPPROTO_IP, unix.IP_MTU_DISCOVER))
		require.NoError(t, d.SetNotices(true))
		require.Equal(t, 1, get(unix.IPPROTO_IP, unix.IP_RECVERR))
		require.Zero(t, get(unix.SOL_SOCKET, unix.SO_BROADCAST))
		to, err := tsocket.UDP(local4(0), tsocket.Addr{})
		require.NoError(t, err)
		defer to.Close()
		e, err := c.UDP(soon(t), local4(0), to.LocalAddr())
		require.NoError(t, err)
		mtu, err := e.PathMTU()
		require.NoError(t, err)
		require.Equal(t, option(t, e.LocalAddr(), unix.IPPROTO_IP, unix.IP_MTU), mtu)

		r := s.raw(t)
		x := r.open(unix.AF_INET6, unix.SOCK_DGRAM)
		v6 := tsagent.Header{Op: tsagent.OpGetOpt, Sock: x, Arg: uint64(tsagent.OptV6Only)}
		_, b := r.must(v6)
		require.Equal(t, within(1), b, "the only value")
		v6.Op = tsagent.OpSetOpt
		r.refuse(syscall.ENOPROTOOPT, v6, within(0))
	})
}

// Broadcasts are for sockets that were made for them.
func TestBroadcast(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		c := s.client(t)
		hears, err := tsocket.UDP(any4(), tsocket.Addr{})
		require.NoError(t, err)
		defer hears.Close()
		probe, err := tsocket.UDP(local4(0), tsocket.Addr{}) // gives hears a port, too
		require.NoError(t, err)
		defer probe.Close()
		_, err = hears.SendTo(soon(t), []byte("x"), probe.LocalAddr())
		require.NoError(t, err)
		all := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.255.255.255", hears.LocalAddr().Port()))

		plain, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		_, err = plain.SendTo(soon(t), []byte("x"), all)
		require.ErrorIs(t, err, syscall.EACCES)
		d, err := c.UDPBroadcast(soon(t), local4(0))
		require.NoError(t, err)
		require.Equal(t, 1, option(t, d.LocalAddr(), unix.SOL_SOCKET, unix.SO_BROADCAST))
		n, err := d.SendTo(soon(t), []byte("to all"), all)
		require.NoError(t, err)
		require.Equal(t, 6, n)
		b := make([]byte, 10)
		n, from, err := hears.RecvFrom(soon(t), b)
		require.NoError(t, err)
		require.Equal(t, "to all", string(b[:n]))
		require.Equal(t, d.LocalAddr(), from)
		_, err = c.UDPBroadcast(soon(t), tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)))
		require.ErrorIs(t, err, tsocket.ErrInvalid)
	})
}
