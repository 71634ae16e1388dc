package tsocket_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// isErrno asserts the errno that the C function gives.
func isErrno(t testing.TB, want syscall.Errno, err error, msg ...any) {
	t.Helper()
	if assert.Equal(t, want, tsocket.Errno(err), fmt.Sprintln(append(msg, err)...)) && want != 0 {
		assert.ErrorIs(t, err, want)
	}
}

// What C makes of addresses: a row each. Deviations are in docs/tsocket.md.
func TestProbesAddr(t *testing.T) {
	t.Run("string", func(t *testing.T) {
		for _, c := range []struct{ family, ip, want string }{
			{"ipv4", "1.2.3.4", "ipv4:1.2.3.4:143"},
			{"ipv6", "::1", "ipv6:::1:143"},
			{"ip", "1.2.3.4", "ipv4:1.2.3.4:143"},
			{"ip", "::1", "ipv6:::1:143"},
			{"ipv6", "::ffff:1.2.3.4", "ipv6:::ffff:1.2.3.4:143"},
			{"ipv6", "::1.2.3.4", "ipv6:::1.2.3.4:143"}, // as inet_ntop
			{"ipv6", "fe80:0:0:0:1::", "ipv6:fe80::1:0:0:0:143"},
			{"IPv4", "0.0.0.0", "ipv4:0.0.0.0:143"},
		} {
			a, err := tsocket.ParseIP(c.family, c.ip, 143)
			require.NoError(t, err)
			assert.Equal(t, c.want, a.String())
		}
		a, err := tsocket.UnixAddr("/path")
		require.NoError(t, err)
		assert.Equal(t, "unix:/path", a.String())
		assert.Equal(t, "NULL", tsocket.Addr{}.String())
	})
	t.Run("copy is assignment and comparable", func(t *testing.T) {
		a := tsocket.MustAddr(tsocket.ParseIP("ip", "::1", 1))
		b := a
		b, err := b.WithPort(2)
		require.NoError(t, err)
		assert.EqualValues(t, 1, a.Port())
		assert.EqualValues(t, 2, b.Port())
		assert.NotEqual(t, a, b)
	})
	t.Run("is_inet", func(t *testing.T) {
		v4 := tsocket.MustAddr(tsocket.ParseIP("ip", "127.0.0.1", 1))
		v6 := tsocket.MustAddr(tsocket.ParseIP("ip", "::1", 1))
		un := tsocket.MustAddr(tsocket.UnixAddr("/x"))
		for _, c := range []struct {
			a    tsocket.Addr
			fam  string
			want bool
		}{
			{v4, "ip", true},
			{v4, "ipv4", true},
			{v4, "IPV4", true},
			{v4, "ipv6", false},
			{v4, "inet", false},
			{v6, "ip", true},
			{v6, "ipv6", true},
			{v6, "ipv4", false},
			{un, "ip", false},
			{tsocket.Addr{}, "ip", false},
		} {
			assert.Equal(t, c.want, c.a.IsInet(c.fam), "%v %s", c.a, c.fam)
		}
		assert.True(t, un.IsUnix())
		assert.False(t, v4.IsUnix())
	})
	t.Run("inet_from_strings: nothing is the wildcard, for ip that of IPv6", func(t *testing.T) {
		for fam, want := range map[string]string{"ipv4": "0.0.0.0", "ipv6": "::", "ip": "::"} {
			a, err := tsocket.ParseIP(fam, "", 7)
			require.NoError(t, err)
			assert.Equal(t, want, a.IPString())
			assert.EqualValues(t, 7, a.Port())
		}
	})
	t.Run("inet_from_strings: unknown family EAFNOSUPPORT", func(t *testing.T) {
		_, err := tsocket.ParseIP("inet", "1.2.3.4", 0)
		isErrno(t, syscall.EAFNOSUPPORT, err)
	})
	t.Run("inet_from_strings: wrong family, hostname, garbage EINVAL", func(t *testing.T) {
		for _, c := range [][2]string{
			{"ipv4", "::1"},
			{"ipv6", "1.2.3.4"},
			{"ip", "localhost"},
			{"ip", "1.2.3.4:1"},
			{"ip", "[::1]"},
			{"ipv4", "1.2.3.256"},
			{"ip", " 1.2.3.4"},
			{"ip", "fe80::1%nosuchinterface"},
		} {
			_, err := tsocket.ParseIP(c[0], c[1], 0)
			isErrno(t, syscall.EINVAL, err, c)
			_, err = tsocket.ParseIPCompat(c[0], c[1], 0)
			isErrno(t, syscall.EINVAL, err, c)
		}
	})
	t.Run("inet_from_strings: inet_aton forms", func(t *testing.T) {
		for in, want := range map[string]string{
			"1.2.3": "1.2.0.3", "1.2": "1.0.0.2", "1": "0.0.0.1", "0x7f.1": "127.0.0.1", "0177.0.0.01": "127.0.0.1",
			"4294967295": "255.255.255.255", "1.16777215": "1.255.255.255", "0": "0.0.0.0", "0X7F000001": "127.0.0.1",
		} {
			a, err := tsocket.ParseIPCompat("ipv4", in, 0)
			require.NoError(t, err, in)
			assert.Equal(t, want, a.IPString())
			_, err = tsocket.ParseIP("ipv4", in, 0)
			isErrno(t, syscall.EINVAL, err, "strict: "+in)
		}
		for _, in := range []string{"1.2.3.4.5", "1.256.3.4", "1.2.65536", "4294967296", "08", "0x", "1..2", ".1", "1.", "-1", "1_0", "+1"} {
			_, err := tsocket.ParseIPCompat("ipv4", in, 0)
			isErrno(t, syscall.EINVAL, err, in)
		}
	})
	t.Run("inet_from_strings: scope accepted and not printed", func(t *testing.T) {
		a, err := tsocket.ParseIP("ip", "fe80::1%lo", 80)
		if err != nil {
			a, err = tsocket.ParseIP("ip", "fe80::1%lo0", 80)
		}
		require.NoError(t, err)
		assert.Equal(t, "ipv6:fe80::1:80", a.String())
		assert.NotZero(t, a.Scope(), "kept all the same")
	})
	t.Run("inet_from_hostport_strings", func(t *testing.T) {
		for _, c := range []struct {
			in, want string
			strict   bool
		}{
			{"1.2.3.4", "ipv4:1.2.3.4:9", true},
			{"1.2.3.4:5", "ipv4:1.2.3.4:5", true},
			{"1.2.3.4:65535", "ipv4:1.2.3.4:65535", true},
			{"1.2.3.4:0", "ipv4:1.2.3.4:0", true},
			{"::1", "ipv6:::1:9", true},
			{"[::1]", "ipv6:::1:9", true},
			{"[::1]:5", "ipv6:::1:5", true},
			{"", "ipv6::::9", true},
			{"[1.2.3.4]:5", "ipv4:1.2.3.4:5", false},
			{"1.2:5", "ipv4:1.0.0.2:5", false},
		} {
			a, err := tsocket.ParseHostPortCompat("ip", c.in, 9)
			require.NoError(t, err, c.in)
			assert.Equal(t, c.want, a.String(), c.in)
			a, err = tsocket.ParseHostPort("ip", c.in, 9)
			if !c.strict {
				isErrno(t, syscall.EINVAL, err, c.in)
				continue
			}
			require.NoError(t, err, c.in)
			assert.Equal(t, c.want, a.String(), c.in)
		}
	})
	t.Run("inet_from_hostport_strings: EINVAL", func(t *testing.T) {
		for _, in := range []string{
			"[::1]x", "[::1]:", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:+5", "1.2.3.4:-5", "1.2.3.4: 5",
			":5", "[::1", "::1]", "[]:5", "[]", "[[::1]]:5", "localhost:5", "[::1]5", "[::1]:99999999999999999999",
		} {
			_, err := tsocket.ParseHostPortCompat("ip", in, 9)
			isErrno(t, syscall.EINVAL, err, in)
			_, err = tsocket.ParseHostPort("ip", in, 9)
			isErrno(t, syscall.EINVAL, err, in)
		}
		_, err := tsocket.ParseHostPort("ipx", "1.2.3.4:5", 9)
		isErrno(t, syscall.EAFNOSUPPORT, err)
	})
	t.Run("getters of another kind", func(t *testing.T) {
		un := tsocket.MustAddr(tsocket.UnixAddr("/x"))
		assert.Empty(t, un.IPString())
		assert.Zero(t, un.Port())
		_, err := un.WithPort(1)
		isErrno(t, syscall.EINVAL, err)
		in := tsocket.MustAddr(tsocket.ParseIP("ip", "::1", 1))
		assert.Empty(t, in.Path())
	})
	t.Run("unix_from_path: 107 bytes yes, 108 ENAMETOOLONG", func(t *testing.T) {
		longest := len(unix.RawSockaddrUnix{}.Path) - 1
		a, err := tsocket.UnixAddr("/" + strings.Repeat("x", longest-1))
		require.NoError(t, err)
		assert.Len(t, a.Path(), longest)
		_, err = tsocket.UnixAddr("/" + strings.Repeat("x", longest))
		isErrno(t, syscall.ENAMETOOLONG, err)
		a, err = tsocket.UnixAddr("")
		require.NoError(t, err)
		assert.True(t, a.IsUnix())
	})
	t.Run("bsd_from_sockaddr: short EINVAL, other family EAFNOSUPPORT", func(t *testing.T) {
		_, err := tsocket.AddrFromRaw([]byte{2})
		isErrno(t, syscall.EINVAL, err)
		for _, s := range []string{"127.0.0.1", "::1"} {
			raw, err := tsocket.MustAddr(tsocket.ParseIP("ip", s, 5)).AppendRaw(nil)
			require.NoError(t, err)
			for n := 2; n < len(raw); n++ {
				_, err := tsocket.AddrFromRaw(raw[:n])
				isErrno(t, syscall.EINVAL, err, n)
			}
			a, err := tsocket.AddrFromRaw(raw)
			require.NoError(t, err)
			assert.Equal(t, s, a.IPString())
			assert.EqualValues(t, 5, a.Port())
			raw[0], raw[1] = 0xee, 0xee
			_, err = tsocket.AddrFromRaw(raw)
			isErrno(t, syscall.EAFNOSUPPORT, err)
		}
	})
	t.Run("bsd_sockaddr: a path fills all of sockaddr_un", func(t *testing.T) {
		a := tsocket.MustAddr(tsocket.UnixAddr("/x"))
		raw, err := a.AppendRaw(nil)
		require.NoError(t, err)
		assert.Len(t, raw, unix.SizeofSockaddrUnix)
		b, err := tsocket.AddrFromRaw(raw)
		require.NoError(t, err)
		assert.Equal(t, a, b)
		_, err = tsocket.Addr{}.AppendRaw(nil)
		isErrno(t, syscall.EINVAL, err)
	})
}
