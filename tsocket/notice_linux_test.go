package tsocket_test

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/usernet"
	"github.com/cnbus/cnbus/tsocket"
)

// TestNotices: what became of datagrams is told with the address concerned, and
// harms no datagram to somebody else.
func TestNotices(t *testing.T) {
	v6 := tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0))
	for _, local := range []tsocket.Addr{loopback4(t), v6} {
		for _, face := range []string{"recvfrom", "request", "batch", "gro"} {
			t.Run(local.IPString()+"/"+face, func(t *testing.T) {
				dead := udp(t, local, tsocket.Addr{})
				gone := dead.LocalAddr()
				require.NoError(t, dead.Close())
				alive := udp(t, local, tsocket.Addr{})
				d := udp(t, local, tsocket.Addr{})
				require.NoError(t, d.SetNotices(true))
				receive := func() error {
					var err error
					switch face {
					case "recvfrom":
						_, _, err = d.RecvFrom(soon(t), make([]byte, 10))
					case "request":
						_, err = d.RecvFromSend(background).Wait(soon(t))
					case "gro":
						d.EnableGRO()
						fallthrough
					default:
						_, err = d.RecvBatch(soon(t), make([]tsocket.Message, 3))
					}
					return err
				}
				_, err := d.SendTo(background, []byte("lost"), gone)
				require.NoError(t, err)
				waitError(t, d)
				// The error is pending now; it is not that of these.
				_, err = d.SendTo(background, []byte("x"), alive.LocalAddr())
				require.NoError(t, err)
				recv(t, alive)

				err = receive()
				isErrno(t, syscall.ECONNREFUSED, err)
				var n *tsocket.Notice
				require.ErrorAs(t, err, &n)
				assert.Equal(t, gone, n.Dst)
				assert.Equal(t, local.IP(), n.Offender.IP())
				assert.Equal(t, "lost", string(n.Data))
				if local.IsInet("ipv4") {
					assert.EqualValues(t, 3, n.Type, "destination unreachable")
					assert.EqualValues(t, 3, n.Code, "port")
				} else {
					assert.EqualValues(t, 1, n.Type)
					assert.EqualValues(t, 4, n.Code)
				}
				var oe *tsocket.OpError
				require.ErrorAs(t, err, &oe)
				assert.Equal(t, gone, oe.Addr)
				assert.Contains(t, err.Error(), "refused")

				// Who waits is woken by one.
				waiting := make(chan error, 1)
				go func() { waiting <- receive() }()
				_, err = d.SendTo(background, []byte("lost"), gone)
				require.NoError(t, err)
				require.ErrorAs(t, <-waiting, &n)

				_, err = d.SendTo(background, []byte("self"), d.LocalAddr())
				require.NoError(t, err)
				require.NoError(t, receive())
			})
		}
	}
}

// setLoopback gives the loopback of this network namespace an MTU, and switches
// it on or off.
func setLoopback(t testing.TB, mtu uint32, up bool) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	require.NoError(t, err)
	ifr.SetUint32(mtu)
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr))
	ifr.SetUint16(0)
	if up {
		ifr.SetUint16(unix.IFF_UP)
	}
	require.NoError(t, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}

// TestPathMTU: a datagram that is too big for the path is told of, with what fits.
func TestPathMTU(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		setLoopback(t, 1500, true)
		d := udp(t, loopback4(t), tsocket.Addr{})
		require.NoError(t, d.SetNotices(true))
		require.NoError(t, d.SetMTUMode(tsocket.MTURefuse))
		to := udp(t, loopback4(t), tsocket.Addr{})
		_, err := d.SendTo(background, make([]byte, 1473), to.LocalAddr())
		isErrno(t, syscall.EMSGSIZE, err)
		_, _, err = d.RecvFrom(soon(t), make([]byte, 10))
		var n *tsocket.Notice
		require.ErrorAs(t, err, &n)
		assert.Equal(t, to.LocalAddr().IP(), n.Dst.IP())
		assert.Equal(t, 1500, n.MTU)
		assert.Equal(t, syscall.EMSGSIZE, n.Errno)
		assert.True(t, n.Offender.IsZero(), "this host itself")
		assert.Contains(t, n.Error(), "1500")
		_, err = d.SendTo(background, make([]byte, 1472), to.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, d.SetMTUMode(tsocket.MTUSystem))
		_, err = d.SendTo(background, make([]byte, 1473), to.LocalAddr())
		require.NoError(t, err)

		_, err = d.PathMTU()
		isErrno(t, syscall.ENOTCONN, err)
		mtu, err := udp(t, loopback4(t), to.LocalAddr()).PathMTU()
		require.NoError(t, err)
		assert.Equal(t, 1500, mtu)
	})
}

// TestBatchNarrowPath: datagrams that are too big to go as one piece go all the
// same, cut up by the kernel as single ones are.
func TestBatchNarrowPath(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		setLoopback(t, 1500, true)
		in, out := udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{})
		for _, size := range []int{1472, 1473, 5000, 1000, 1473} {
			msgs := make([]tsocket.Message, 12)
			for i := range msgs {
				msgs[i] = tsocket.Message{Data: bytes.Repeat([]byte{byte(i)}, size), Addr: in.LocalAddr()}
			}
			n, err := out.SendBatch(soon(t), msgs)
			require.NoError(t, err)
			require.Equal(t, len(msgs), n)
			for _, m := range msgs {
				got, _ := recv(t, in)
				require.Equal(t, string(m.Data), got)
			}
		}
	})
}

// TestPeerVanishes: nothing comes back any more, not even a refusal.
func TestPeerVanishes(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		setLoopback(t, 1500, true)
		a, _ := tcpPair(t)
		require.NoError(t, a.SetUserTimeout(200*time.Millisecond))
		setLoopback(t, 1500, false)
		read, monitor := a.ReadvSend(background, make([]byte, 1)), a.MonitorSend(background)
		write(t, a, "lost")
		_, err := read.Wait(soon(t))
		isErrno(t, syscall.ETIMEDOUT, err)
		_, err = monitor.Wait(soon(t))
		require.Error(t, err)
		_, err = a.Writev(background, []byte("x"))
		isErrno(t, syscall.ETIMEDOUT, err, "sticky")
	})
}

func TestNoticesElsewhere(t *testing.T) {
	a, b, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	closeLater(t, a, b)
	assert.ErrorIs(t, a.SetNotices(true), tsocket.ErrNotSupported)
	assert.ErrorIs(t, a.SetMTUMode(tsocket.MTUProbe), tsocket.ErrNotSupported)
}
