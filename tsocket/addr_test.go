package tsocket_test

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

func TestAddrConversions(t *testing.T) {
	v4 := tsocket.MustAddr(tsocket.ParseIP("ip", "192.0.2.1", 80))
	v6 := tsocket.MustAddr(tsocket.ParseIP("ip", "2001:db8::1", 80))
	scoped := tsocket.MustAddr(tsocket.ParseIP("ip", "fe80::1%7", 80))
	mapped := tsocket.MustAddr(tsocket.ParseIP("ip", "::ffff:1.2.3.4", 80))
	path := tsocket.MustAddr(tsocket.UnixAddr("/run/x"))
	at := tsocket.MustAddr(tsocket.UnixAddr("@file"))
	abstract := tsocket.MustAddr(tsocket.AbstractAddr("name"))
	assert.EqualValues(t, 7, scoped.Scope())
	assert.Equal(t, "name", abstract.Abstract())
	assert.Empty(t, abstract.Path())
	assert.Empty(t, path.Abstract())
	assert.Equal(t, "unix:@name", abstract.String())
	assert.True(t, abstract.IsUnix())

	t.Run("netip", func(t *testing.T) {
		for _, a := range []tsocket.Addr{v4, v6, scoped, mapped} {
			b, err := tsocket.AddrFrom(a.AddrPort())
			require.NoError(t, err)
			assert.Equal(t, a, b)
		}
		assert.Equal(t, "7", scoped.AddrPort().Addr().Zone())
		assert.False(t, path.AddrPort().IsValid())
		_, err := tsocket.AddrFrom(netip.AddrPort{})
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.AddrFrom(netip.MustParseAddrPort("[fe80::1%nosuchinterface]:1"))
		isErrno(t, syscall.EINVAL, err)
	})
	t.Run("net", func(t *testing.T) {
		for _, a := range []tsocket.Addr{v4, v6, scoped, path, abstract} {
			for _, network := range []string{"tcp", "udp", "unix", "unixgram", "ip"} {
				n := a.NetAddr(network)
				if n == nil {
					assert.Equal(t, strings.HasPrefix(network, "unix"), !a.IsUnix(), "%v as %s", a, network)
					continue
				}
				assert.Equal(t, network, n.Network())
				b, err := tsocket.AddrFromNet(n)
				require.NoError(t, err)
				if network == "ip" {
					b, err = b.WithPort(a.Port())
					require.NoError(t, err)
				}
				assert.Equal(t, a, b)
			}
		}
		a, err := tsocket.AddrFromNet(&net.UDPAddr{IP: net.ParseIP("1.2.3.4"), Port: 5})
		require.NoError(t, err)
		assert.Equal(t, "ipv4:1.2.3.4:5", a.String(), "IPv4 in 16 bytes")
		a, err = tsocket.AddrFromNet(&net.TCPAddr{Port: 5})
		require.NoError(t, err)
		assert.Equal(t, "ipv6::::5", a.String())
		for _, zero := range []net.Addr{nil, (*net.UnixAddr)(nil)} {
			a, err = tsocket.AddrFromNet(zero)
			require.NoError(t, err)
			assert.True(t, a.IsZero())
		}
		a, err = tsocket.AddrFromNet(otherAddr("[::1]:9"))
		require.NoError(t, err)
		assert.Equal(t, "ipv6:::1:9", a.String())
		_, err = tsocket.AddrFromNet(otherAddr("pipe"))
		isErrno(t, syscall.EAFNOSUPPORT, err)
		_, err = tsocket.AddrFromNet(&net.UDPAddr{IP: net.IP{1, 2, 3}, Port: 5})
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.AddrFromNet(&net.UDPAddr{Port: 70_000})
		isErrno(t, syscall.EINVAL, err)
	})
	t.Run("sockaddr", func(t *testing.T) {
		for _, a := range []tsocket.Addr{v4, v6, scoped, mapped, path, abstract} {
			sa, err := a.Sockaddr()
			require.NoError(t, err)
			b, err := tsocket.AddrFromSockaddr(sa)
			require.NoError(t, err)
			assert.Equal(t, a, b)
		}
		sa, err := at.Sockaddr()
		require.NoError(t, err)
		assert.Equal(t, "./@file", sa.(*unix.SockaddrUnix).Name)
		_, err = tsocket.Addr{}.Sockaddr()
		isErrno(t, syscall.EINVAL, err)
		a, err := tsocket.AddrFromSockaddr(nil)
		require.NoError(t, err)
		assert.True(t, a.IsZero())
	})
	t.Run("raw", func(t *testing.T) {
		empty := tsocket.MustAddr(tsocket.UnixAddr(""))
		for _, a := range []tsocket.Addr{v4, v6, scoped, mapped, path, at, empty} {
			raw, err := a.AppendRaw([]byte("before"))
			require.NoError(t, err)
			b, err := tsocket.AddrFromRaw(raw[6:])
			require.NoError(t, err)
			assert.Equal(t, a, b)
		}
		a, err := tsocket.AddrFromRaw(nil)
		require.NoError(t, err)
		assert.True(t, a.IsZero())
	})
	t.Run("bad unix names", func(t *testing.T) {
		_, err := tsocket.UnixAddr("a\x00b")
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.AbstractAddr("")
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.AbstractAddr(strings.Repeat("x", 108))
		isErrno(t, syscall.ENAMETOOLONG, err)
	})
	assert.Panics(t, func() { tsocket.MustAddr(tsocket.UnixAddr("\x00")) })
}

type otherAddr string

func (a otherAddr) Network() string { return "other" }
func (a otherAddr) String() string  { return string(a) }
