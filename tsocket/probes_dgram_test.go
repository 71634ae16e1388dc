package tsocket_test

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

func udp(t testing.TB, local, remote tsocket.Addr) *tsocket.Dgram {
	d, err := tsocket.UDP(local, remote)
	require.NoError(t, err)
	closeLater(t, d)
	return d
}

func unixDgram(t testing.TB, local, remote tsocket.Addr) *tsocket.Dgram {
	d, err := tsocket.UnixDgram(local, remote)
	require.NoError(t, err)
	closeLater(t, d)
	return d
}

// deadPort returns an address at which nobody receives.
func deadPort(t testing.TB) tsocket.Addr {
	d := udp(t, loopback4(t), tsocket.Addr{})
	a := d.LocalAddr()
	require.NoError(t, d.Close())
	return a
}

func recv(t testing.TB, d *tsocket.Dgram) (string, tsocket.Addr) {
	b := make([]byte, 1<<16)
	n, src, err := d.RecvFrom(soon(t), b)
	require.NoError(t, err)
	return string(b[:n]), src
}

// What C's datagram sockets do: a row each. Deviations are in docs/tsocket.md.
func TestProbesDgram(t *testing.T) {
	var none tsocket.Addr
	t.Run("second recvfrom EBUSY", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		r := d.RecvFromSend(background)
		_, _, err := d.RecvFrom(background, make([]byte, 10))
		isErrno(t, syscall.EBUSY, err)
		_, err = d.RecvFromSend(background).Result()
		isErrno(t, syscall.EBUSY, err)
		_, err = d.RecvBatch(background, make([]tsocket.Message, 1))
		isErrno(t, syscall.EBUSY, err)
		assert.True(t, r.InProgress())
		require.True(t, r.Cancel())
	})
	t.Run("after disconnect ENOTCONN, each operation", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		require.NoError(t, d.Disconnect(background))
		_, _, err := d.RecvFrom(background, nil)
		isErrno(t, syscall.ENOTCONN, err)
		_, err = d.RecvFromSend(background).Result()
		isErrno(t, syscall.ENOTCONN, err)
		_, err = d.SendTo(background, []byte("x"), none)
		isErrno(t, syscall.ENOTCONN, err)
		_, err = d.SendTo(background, nil, none)
		isErrno(t, syscall.EINVAL, err, "len 0 is checked first")
		isErrno(t, syscall.ENOTCONN, d.Disconnect(background))
		_, err = d.DisconnectSend(background).Result()
		isErrno(t, syscall.ENOTCONN, err)
	})
	t.Run("ICMP error on a connected socket is one-shot", func(t *testing.T) {
		d := udp(t, loopback4(t), deadPort(t))
		_, err := d.SendTo(background, []byte("x"), none)
		require.NoError(t, err)
		b := make([]byte, 10)
		_, _, err = d.RecvFrom(soon(t), b)
		isErrno(t, syscall.ECONNREFUSED, err)
		ctx, stop := ctxAfter(time.Millisecond)
		defer stop()
		_, _, err = d.RecvFrom(ctx, b)
		isErrno(t, syscall.ETIMEDOUT, err, "the socket works on")

		r := d.RecvFromSend(background)
		_, err = d.SendTo(background, []byte("x"), none)
		require.NoError(t, err)
		_, err = r.Wait(soon(t))
		isErrno(t, syscall.ECONNREFUSED, err)
	})
	t.Run("pending ICMP error fails the next send, the one after works", func(t *testing.T) {
		d := udp(t, loopback4(t), deadPort(t))
		_, err := d.SendTo(background, []byte("x"), none)
		require.NoError(t, err)
		waitError(t, d)
		_, err = d.SendTo(background, []byte("x"), none)
		isErrno(t, syscall.ECONNREFUSED, err)
		_, err = d.SendTo(background, []byte("x"), none)
		require.NoError(t, err)
	})
	t.Run("unconnected socket sees no ICMP error", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		for range 3 {
			_, err := d.SendTo(background, []byte("x"), deadPort(t))
			require.NoError(t, err)
		}
		_, err := d.SendTo(background, []byte("me"), d.LocalAddr())
		require.NoError(t, err)
		got, _ := recv(t, d)
		assert.Equal(t, "me", got)
	})
	t.Run("sendto: len 0 EINVAL, before EBUSY", func(t *testing.T) {
		d, stuck := busySender(t)
		_, err := d.SendTo(background, nil, none)
		isErrno(t, syscall.EINVAL, err)
		_, err = d.SendTo(background, []byte("x"), none)
		isErrno(t, syscall.EBUSY, err)
		_, err = d.SendToSend(background, []byte("x"), none).Result()
		isErrno(t, syscall.EBUSY, err)
		assert.True(t, stuck.InProgress())
		require.True(t, stuck.Cancel())
		_, err = stuck.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
	})
	t.Run("sendto: nobody to send to EDESTADDRREQ", func(t *testing.T) {
		_, err := udp(t, loopback4(t), none).SendTo(background, []byte("x"), none)
		isErrno(t, syscall.EDESTADDRREQ, err)
	})
	t.Run("sendto: too big EMSGSIZE, also with a larger buffer", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		_, err := d.SendTo(background, make([]byte, 65508), d.LocalAddr())
		isErrno(t, syscall.EMSGSIZE, err)
		n, err := d.SendTo(background, make([]byte, 65507), d.LocalAddr())
		require.NoError(t, err)
		assert.Equal(t, 65507, n)
		got, _ := recv(t, d)
		assert.Len(t, got, 65507)
	})
	t.Run("sendto: EMSGSIZE, once with a larger send buffer", func(t *testing.T) {
		a, b, err := tsocket.UnixDgramPair()
		require.NoError(t, err)
		closeLater(t, a, b)
		require.NoError(t, a.SetBuffers(0, 8<<10))
		big := bytes.Repeat([]byte("x"), 60<<10)
		_, err = a.SendTo(soon(t), big, none)
		require.NoError(t, err)
		got, _ := recv(t, b)
		assert.Len(t, got, len(big))
	})
	t.Run("sendto: IPv6 destination on an IPv4 socket EAFNOSUPPORT", func(t *testing.T) {
		v6 := tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 9))
		_, err := udp(t, loopback4(t), none).SendTo(background, []byte("x"), v6)
		isErrno(t, syscall.EAFNOSUPPORT, err)
	})
	t.Run("sendto unix: missing ENOENT, dead ECONNREFUSED, unnamed ENOTCONN", func(t *testing.T) {
		d := unixDgram(t, none, none)
		_, err := d.SendTo(background, []byte("x"), socketPath(t, "missing"))
		isErrno(t, syscall.ENOENT, err)
		at := socketPath(t, "dead")
		require.NoError(t, unixDgram(t, at, none).Close())
		_, err = d.SendTo(background, []byte("x"), at)
		isErrno(t, syscall.ECONNREFUSED, err)

		at = socketPath(t, "alive")
		r := unixDgram(t, at, none)
		_, err = d.SendTo(background, []byte("x"), at)
		require.NoError(t, err)
		_, src := recv(t, r)
		assert.True(t, src.IsZero(), "the sender has no name")
		_, err = r.SendTo(background, []byte("x"), src)
		isErrno(t, syscall.ENOTCONN, err)
	})
	t.Run("sendto unix: a full receiver keeps it waiting until there is room", func(t *testing.T) {
		for _, isConnected := range []bool{true, false} {
			at := socketPath(t, "slow")
			r := unixDgram(t, at, none)
			dst := at
			d := unixDgram(t, none, none)
			if isConnected {
				d, dst = unixDgram(t, none, at), none
			}
			sent := 0
			var stuck *tsocket.Request[int]
			for {
				if stuck = d.SendToSend(background, []byte("x"), dst); stuck.InProgress() {
					break
				}
				_, err := stuck.Result()
				require.NoError(t, err)
				sent++
			}
			for range sent {
				recv(t, r)
			}
			_, err := stuck.Wait(soon(t))
			require.NoError(t, err)
			recv(t, r)
		}
	})
	t.Run("disconnect: EBUSY while a receive or a send is outstanding", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		r := d.RecvFromSend(background)
		isErrno(t, syscall.EBUSY, d.Disconnect(background))
		require.True(t, r.Cancel())
		_, _ = r.Wait(soon(t))
		require.NoError(t, d.Disconnect(background))

		d, stuck := busySender(t)
		isErrno(t, syscall.EBUSY, d.Disconnect(background))
		require.True(t, stuck.Cancel())
	})
	t.Run("udp socket: what is no inet address EINVAL", func(t *testing.T) {
		un := tsocket.MustAddr(tsocket.UnixAddr("/x"))
		for _, c := range [][2]tsocket.Addr{{un, none}, {none, none}, {loopback4(t), un}} {
			_, err := tsocket.UDP(c[0], c[1])
			isErrno(t, syscall.EINVAL, err)
		}
	})
	t.Run("udp socket: bound IPv6 with an IPv4 remote EINVAL", func(t *testing.T) {
		v6 := tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0))
		_, err := tsocket.UDP(v6, tsocket.MustAddr(tsocket.ParseIP("ip", "127.0.0.1", 9)))
		isErrno(t, syscall.EINVAL, err)
	})
	t.Run("udp socket: the wildcard takes the family of the remote", func(t *testing.T) {
		any6 := tsocket.MustAddr(tsocket.ParseIP("ip", "", 0))
		d := udp(t, any6, tsocket.MustAddr(tsocket.ParseIP("ip", "127.0.0.1", 9)))
		assert.True(t, d.LocalAddr().IsInet("ipv4"))
		assert.Equal(t, "127.0.0.1", d.LocalAddr().IPString())
	})
	t.Run("udp socket: the wildcard without a port is not bound", func(t *testing.T) {
		d := udp(t, tsocket.MustAddr(tsocket.ParseIP("ipv4", "", 0)), none)
		assert.Zero(t, d.LocalAddr().Port())
		_, err := d.SendTo(background, []byte("x"), deadPort(t))
		require.NoError(t, err)
		assert.NotZero(t, d.LocalAddr().Port(), "the first datagram binds it")
	})
	t.Run("udp socket: a given port may be in use already, one's own choice not", func(t *testing.T) {
		a := udp(t, loopback4(t), none)
		option := func(d *tsocket.Dgram, name int) (n int) {
			require.NoError(t, d.SyscallFD(func(fd int) (err error) {
				n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, name)
				return err
			}))
			return n
		}
		assert.Zero(t, option(a, unix.SO_REUSEADDR))
		port := a.LocalAddr()
		require.NoError(t, a.Close())
		b := udp(t, port, none)
		assert.NotZero(t, option(b, unix.SO_REUSEADDR))
		udp(t, port, none)
	})
	t.Run("udp socket: IPv6 only", func(t *testing.T) {
		d := udp(t, tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)), none)
		require.NoError(t, d.SyscallFD(func(fd int) error {
			n, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			assert.Equal(t, 1, n)
			assert.Greater(t, fd, 2)
			return err
		}))
	})
	t.Run("udp broadcast socket: IPv6 EINVAL; may send to broadcast", func(t *testing.T) {
		_, err := tsocket.UDPBroadcast(tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)))
		isErrno(t, syscall.EINVAL, err)
		bc := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.255.255.255", 9))
		d, err := tsocket.UDPBroadcast(loopback4(t))
		require.NoError(t, err)
		closeLater(t, d)
		_, err = d.SendTo(background, []byte("x"), bc)
		require.NoError(t, err)
		_, err = udp(t, loopback4(t), none).SendTo(background, []byte("x"), bc)
		isErrno(t, syscall.EACCES, err)
	})
	t.Run("unix socket: EADDRINUSE if the file exists, and nobody unlinks it", func(t *testing.T) {
		at := socketPath(t, "s")
		require.NoError(t, unixDgram(t, at, none).Close())
		_, err := tsocket.UnixDgram(at, none)
		isErrno(t, syscall.EADDRINUSE, err)
	})
	t.Run("unix socket: remote missing ENOENT, dead ECONNREFUSED, of another kind EINVAL", func(t *testing.T) {
		at := socketPath(t, "s")
		_, err := tsocket.UnixDgram(none, at)
		isErrno(t, syscall.ENOENT, err)
		require.NoError(t, unixDgram(t, at, none).Close())
		_, err = tsocket.UnixDgram(none, at)
		isErrno(t, syscall.ECONNREFUSED, err)
		_, err = tsocket.UnixDgram(none, loopback4(t))
		isErrno(t, syscall.EINVAL, err)
	})
	t.Run("existing socket", func(t *testing.T) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
		d, err := tsocket.DgramFromFD(fd)
		require.NoError(t, err)
		closeLater(t, d)
		_, err = d.SendTo(background, []byte("x"), d.LocalAddr())
		require.NoError(t, err)
		_, src := recv(t, d)
		assert.Equal(t, d.LocalAddr(), src)

		_, err = tsocket.DgramFromFD(-1)
		isErrno(t, syscall.EBADF, err)
	})
	t.Run("zero-length datagram: consumed, and reported as what it is", func(t *testing.T) {
		d := udp(t, loopback4(t), none) // C: ENOMEM
		sendEmpty(t, d.LocalAddr())
		_, err := d.SendTo(background, []byte("next"), d.LocalAddr())
		require.NoError(t, err)
		got, src := recv(t, d)
		assert.Empty(t, got)
		assert.False(t, src.IsZero())
		got, _ = recv(t, d)
		assert.Equal(t, "next", got)
		sendEmpty(t, d.LocalAddr())
		v, err := d.RecvFromSend(background).Wait(soon(t))
		require.NoError(t, err)
		assert.Empty(t, v.Data)
	})
	t.Run("nothing is cut off", func(t *testing.T) {
		pair := func() (a, b *tsocket.Dgram) {
			a, b, err := tsocket.UnixDgramPair()
			require.NoError(t, err)
			closeLater(t, a, b)
			return a, b
		}
		ua := udp(t, loopback4(t), none)
		ub := udp(t, loopback4(t), ua.LocalAddr())
		xa, xb := pair()
		for _, p := range [][2]*tsocket.Dgram{{ub, ua}, {xa, xb}} {
			for _, text := range []string{"0123456789", "next"} {
				_, err := p[0].SendTo(background, []byte(text), none)
				require.NoError(t, err)
			}
			for range 2 { // it is kept
				_, _, err := p[1].RecvFrom(background, make([]byte, 3))
				isErrno(t, syscall.EMSGSIZE, err)
				var room *tsocket.RoomError
				require.ErrorAs(t, err, &room)
				assert.Equal(t, 10, room.Need)
			}
			b := make([]byte, 10)
			n, _, err := p[1].RecvFrom(background, b)
			require.NoError(t, err)
			assert.Equal(t, "0123456789", string(b[:n]))
			got, _ := recv(t, p[1])
			assert.Equal(t, "next", got)
		}
	})
	t.Run("a unix datagram larger than any of UDP", func(t *testing.T) {
		a, b, err := tsocket.UnixDgramPair()
		require.NoError(t, err)
		closeLater(t, a, b)
		big := bytes.Repeat([]byte("0123456789"), 15_000)
		_, err = a.SendTo(soon(t), big, none)
		require.NoError(t, err)
		v, err := b.RecvFromSend(background).Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, big, v.Data)
	})
	t.Run("IPv4 sources are IPv4", func(t *testing.T) {
		d := udp(t, loopback4(t), none)
		_, err := d.SendTo(background, []byte("x"), d.LocalAddr())
		require.NoError(t, err)
		_, src := recv(t, d)
		assert.Equal(t, netip.MustParseAddr("127.0.0.1"), src.IP())
	})
}

// sendEmpty sends a datagram without data, which a Dgram refuses to.
func sendEmpty(t testing.TB, to tsocket.Addr) {
	family := unix.AF_INET
	if to.IsInet("ipv6") {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	sa, err := to.Sockaddr()
	require.NoError(t, err)
	require.NoError(t, unix.Sendto(fd, nil, 0, sa))
}

// waitError waits until an error is pending on the socket.
func waitError(t testing.TB, d *tsocket.Dgram) {
	t.Helper()
	require.NoError(t, d.SyscallFD(untilReadable))
}

// busySender returns a socket on which a send is outstanding.
func busySender(t testing.TB) (*tsocket.Dgram, *tsocket.Request[int]) {
	a, b, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	closeLater(t, a, b)
	for {
		r := a.SendToSend(background, []byte("x"), tsocket.Addr{})
		if r.InProgress() {
			return a, r
		}
		_, err := r.Result()
		require.NoError(t, err)
	}
}
