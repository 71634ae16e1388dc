package tsocket_test

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// FuzzHostPort: what the strict parser takes, the other one takes too, with the
// same outcome, and both print it so that it parses to itself.
func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"", "1.2.3.4", "1.2.3.4:5", "[::1]:80", "::1", "[1.2.3.4]:5", "0x7f.1:9", "fe80::1%1", "[::1]x", ":", "[]:1"} {
		f.Add("ip", s)
	}
	f.Fuzz(func(t *testing.T, family, s string) {
		a, err := tsocket.ParseHostPort(family, s, 9)
		c, cerr := tsocket.ParseHostPortCompat(family, s, 9)
		if err == nil {
			require.NoError(t, cerr)
			require.Equal(t, a, c)
		}
		if cerr != nil {
			require.Contains(t, []syscall.Errno{syscall.EINVAL, syscall.EAFNOSUPPORT}, tsocket.Errno(cerr))
			return
		}
		require.True(t, c.IsInet("ip"))
		again, err := tsocket.AddrFrom(c.AddrPort())
		require.NoError(t, err)
		require.Equal(t, c, again)
		back, err := tsocket.ParseHostPort("ip", c.AddrPort().String(), 1)
		if c.AddrPort().Addr().Is4() || c.AddrPort().Addr().Is6() {
			require.NoError(t, err)
			require.Equal(t, c, back)
		}
	})
}

// FuzzIP: the strict parser takes what netip takes, and nothing else.
func FuzzIP(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "01.2.3.4", "1.2.3", "::1", "::ffff:1.2.3.4", "fe80::1%1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := tsocket.ParseIP("ip", s, 0)
		ip, perr := netip.ParseAddr(s)
		if err == nil && s != "" {
			require.NoError(t, perr)
			require.Equal(t, ip.WithZone(""), a.IP())
		}
		if perr == nil && ip.Zone() == "" {
			require.NoError(t, err)
		}
		if c, err := tsocket.ParseIPCompat("ip", s, 0); err == nil && perr != nil && s != "" {
			require.True(t, c.IP().Is4(), "only IPv4 has old forms")
		}
	})
}

// FuzzSockaddr: whatever the kernel's bytes are, they are an address that gives
// the same bytes, or an error.
func FuzzSockaddr(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "::1", "fe80::1%3"} {
		raw, err := tsocket.MustAddr(tsocket.ParseIP("ip", s, 80)).AppendRaw(nil)
		require.NoError(f, err)
		f.Add(raw)
	}
	raw, err := tsocket.MustAddr(tsocket.UnixAddr("/x")).AppendRaw(nil)
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte{1, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := tsocket.AddrFromRaw(raw)
		if err != nil || a.IsZero() {
			return
		}
		_ = a.String()
		again, err := a.AppendRaw(nil)
		require.NoError(t, err)
		b, err := tsocket.AddrFromRaw(again)
		require.NoError(t, err)
		require.Equal(t, a, b)
	})
}

// FuzzPDU: the three ways to read PDUs behind a length find the same ones, in
// pieces of any size, and lose no byte.
func FuzzPDU(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01a\x00\x00\x00\x02bc"), uint8(1))
	f.Add([]byte("\xff\xff\xff\xff"), uint8(3))
	f.Add([]byte("\x00\x00"), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, piece uint8) {
		const limit = 1000
		var want [][]byte
		for rest := in; ; {
			n, err := tsocket.U32Size(rest)
			if err != nil || len(rest) < 4 || n > limit || n > len(rest) {
				break
			}
			want, rest = append(want, rest[:n]), rest[n:]
		}
		stream := func() *tsocket.Stream {
			ops := newScript(string(in))
			ops.piece, ops.end = int(piece), true
			return tsocket.NewStream(ops)
		}
		collect := func(next func() ([]byte, error)) {
			t.Helper()
			for _, w := range want {
				got, err := next()
				require.NoError(t, err)
				require.Equal(t, w, got)
			}
			_, err := next()
			require.Error(t, err)
		}
		s := stream()
		r := tsocket.NewPDUReader(s, tsocket.U32Size, limit)
		collect(func() ([]byte, error) { return r.Next(background) })
		rest := in[len(bytes.Join(want, nil)):]
		if len(rest) > 0 {
			require.Equal(t, rest, readAll(t, s, len(rest)))
		}
		s = stream()
		collect(func() ([]byte, error) { return tsocket.ReadBlob(background, s, 4, tsocket.U32Full, limit) })
		s = stream()
		collect(func() ([]byte, error) {
			v := u32Vector{}
			_, err := s.ReadPDUSend(background, v.next).Wait(background)
			return append(v.header, v.body...), err
		})
	})
}

// FuzzFrames: no prefix makes a SizeFunc panic, and more bytes do not change
// what it said.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x10\x00\x00\x00"), []byte("x"))
	f.Fuzz(func(t *testing.T, prefix, more []byte) {
		for _, size := range []tsocket.SizeFunc{tsocket.U16Size, tsocket.U32Size, tsocket.NetlinkSize} {
			n, err := size(prefix)
			if n == 0 && err == nil {
				continue
			}
			assert.GreaterOrEqual(t, n, 0)
			n2, err2 := size(append(bytes.Clone(prefix), more...))
			require.Equal(t, n, n2)
			require.Equal(t, errors.Is(err, tsocket.ErrFrame), errors.Is(err2, tsocket.ErrFrame))
		}
	})
}
