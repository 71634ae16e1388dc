package tsagent_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// BIND of a TCP socket is bind(2): it says whether the address is free, and what the port is.
func TestBindOfStreams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		bind := func(sock uint32, at tsocket.Addr, flags uint16) (tsocket.Addr, error) {
			_, b, err := r.call(soon(t), tsagent.Header{Op: tsagent.OpBind, Flags: flags, Sock: sock}, tsagent.AppendAddr(nil, at))
			if err != nil {
				return tsocket.Addr{}, err
			}
			got, _, err := tsagent.ParseAddr(b)
			require.NoError(t, err)
			return got, nil
		}
		stream := func() uint32 { return r.open(unix.AF_INET, unix.SOCK_STREAM) }
		l, x := stream(), stream()
		at, err := bind(l, any4(), 0)
		require.NoError(t, err)
		require.NotZero(t, at.Port(), "it is bound")
		require.Equal(t, "bound", s.agent.Sockets()[0].State)
		_, err = bind(l, any4(), 0)
		require.ErrorIs(t, err, syscall.EINVAL, "once")
		r.must(tsagent.Header{Op: tsagent.OpListen, Sock: l})
		at = local4(at.Port())
		_, err = bind(x, at, 0)
		require.ErrorIs(t, err, syscall.EADDRINUSE)
		_, err = bind(x, tsocket.MustAddr(tsocket.ParseIP("ipv4", "192.0.2.77", 0)), 0)
		require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
		from, err := bind(x, local4(0), 0)
		require.NoError(t, err, "a BIND that has failed may be done again")
		r.refuse(syscall.EINVAL, tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(tsagent.AppendAddr(nil, at), local4(0)))
		_, names := r.must(tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, at))
		require.Equal(t, tsagent.AppendAddr(tsagent.AppendAddr(nil, from), at), names)

		// One whose CONNECT has failed is new, and its port is free.
		y, z := stream(), stream()
		from, err = bind(y, local4(0), 0)
		require.NoError(t, err)
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: l})
		r.refuse(syscall.ECONNREFUSED, tsagent.Header{Op: tsagent.OpConnect, Sock: y}, tsagent.AppendAddr(nil, at))
		_, err = bind(z, from, 0)
		require.NoError(t, err)
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: z})
		_, err = bind(y, from, tsagent.FlagReusePort)
		require.NoError(t, err)
		r.must(tsagent.Header{Op: tsagent.OpListen, Flags: tsagent.FlagReusePort, Sock: y})
		z = stream()
		_, err = bind(z, from, tsagent.FlagReusePort)
		require.NoError(t, err)
		r.must(tsagent.Header{Op: tsagent.OpListen, Sock: z})
		w := stream()
		_, err = bind(w, local4(0), 0)
		require.NoError(t, err)
		r.refuse(syscall.EINVAL, tsagent.Header{Op: tsagent.OpListen, Flags: tsagent.FlagReusePort, Sock: w})
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: w})
	})
}

// The file of a unix stream socket is there when it listens, with its mode, and is gone when CLOSE is done.
func TestFileOfListener(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		path := socketPath(t)
		for range 20 {
			x := r.open(unix.AF_UNIX, unix.SOCK_STREAM)
			r.must(tsagent.Header{Op: tsagent.OpBind, Sock: x}, tsagent.AppendAddr(nil, path))
			_, err := os.Lstat(path.Path())
			require.NoError(t, err)
			y := r.open(unix.AF_UNIX, unix.SOCK_STREAM)
			r.refuse(syscall.EADDRINUSE, tsagent.Header{Op: tsagent.OpBind, Sock: y}, tsagent.AppendAddr(nil, path))
			r.refuse(syscall.ECONNREFUSED, tsagent.Header{Op: tsagent.OpConnect, Sock: y}, tsagent.AppendAddr(nil, path))
			r.must(tsagent.Header{Op: tsagent.OpClose, Sock: y})
			r.must(tsagent.Header{Op: tsagent.OpListen, Sock: x, Arg: 0o610 << 32})
			info, err := os.Lstat(path.Path())
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o610), info.Mode().Perm())
			r.must(tsagent.Header{Op: tsagent.OpClose, Sock: x})
			_, err = os.Lstat(path.Path())
			require.ErrorIs(t, err, os.ErrNotExist)
		}
	})
}

// BIND of a unix stream socket is bind(2), and what was bound and comes to nothing leaves no file.
func TestBindOfUnixStreams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		path := socketPath(t)
		bind := func(x uint32) tsagent.Header { return tsagent.Header{Op: tsagent.OpBind, Sock: x} }
		body := tsagent.AppendAddr(nil, path)
		gone := func() {
			t.Helper()
			_, err := os.Lstat(path.Path())
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		x := r.open(unix.AF_UNIX, unix.SOCK_STREAM)
		r.refuse(syscall.ENOENT, bind(x), tsagent.AppendAddr(nil, tsocket.MustAddr(tsocket.UnixAddr(path.Path()+"/no/such"))))
		r.must(bind(x), body)
		r.refuse(syscall.EINVAL, bind(x), body)
		r.must(tsagent.Header{Op: tsagent.OpClose, Sock: x})
		gone()

		// A CONNECT that fails gives the path back.
		x = r.open(unix.AF_UNIX, unix.SOCK_STREAM)
		r.must(bind(x), body)
		other := socketPath(t)
		r.refuse(syscall.ENOENT, tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, other))
		gone()

		// One that succeeds is from there.
		l, err := tsocket.ListenUnix(other, nil)
		require.NoError(t, err)
		defer l.Close()
		r.must(bind(x), body)
		_, names := r.must(tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, other))
		require.Equal(t, tsagent.AppendAddr(tsagent.AppendAddr(nil, path), other), names)
	})
}

// ReusePort of a Listener goes through.
func TestReusePort(t *testing.T) {
	c := onLoopback(t, nil).client(t)
	share := &tsocket.ListenConfig{ReusePort: true}
	l, err := c.ListenTCP(soon(t), local4(0), share)
	require.NoError(t, err)
	m, err := c.ListenTCP(soon(t), l.Addr(), share)
	require.NoError(t, err)
	_, err = c.ListenTCP(soon(t), l.Addr(), nil)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	assert.NoError(t, l.Close())
	assert.NoError(t, m.Close())
}

// A CONNECT to which no reply is wanted tells by an event that it has failed.
func TestPostedConnectFails(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		r := s.raw(t)
		x := r.open(unix.AF_INET, unix.SOCK_STREAM)
		r.post(tsagent.Header{Op: tsagent.OpConnect, Sock: x}, tsagent.AppendAddr(nil, local4(freePort(t))))
		h, _ := r.event()
		require.Equal(t, tsagent.EvError, h.Op)
		require.EqualValues(t, tsagent.OpConnect, h.Arg)
	})
}

// A listener that cannot accept tries again, but not all the time.
func TestAcceptDoesNotSpin(t *testing.T) {
	s := onLoopback(t, &tsagent.Config{SocketsPerOwner: 2})
	r := s.raw(t)
	l, addr := r.listener(local4(0))
	other := r.open(unix.AF_INET, unix.SOCK_DGRAM)
	p, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, addr)
	require.NoError(t, err)
	defer p.Close()
	const credit = 1_000_000
	r.post(tsagent.Header{Op: tsagent.OpWindow, Sock: l, Arg: credit})
	for range 3 {
		h, _ := r.event()
		require.Equal(t, tsagent.EvAccepted, h.Op)
		require.Zero(t, h.Arg)
	}
	for range 200 { // so long that one that spins would have told of hundreds
		r.snapshot()
	}
	require.Greater(t, s.agent.Sockets()[0].Credit, int64(credit-100))
	r.must(tsagent.Header{Op: tsagent.OpClose, Sock: other})
	for {
		if h, _ := r.event(); h.Arg != 0 {
			break
		}
	}
}
