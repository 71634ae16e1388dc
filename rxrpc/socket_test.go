package rxrpc_test

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// socket makes a socket that is closed at the end of the test.
func socket(t testing.TB, cfg *rxrpc.SocketConfig) *rxrpc.Socket {
	t.Helper()
	t.Cleanup(rxrpc.CloseShared)
	s, err := rxrpc.NewSocket(rxrpc.Inet, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func at(service uint16, addr netip.AddrPort) rxrpc.Addr {
	return rxrpc.Addr{Service: service, Addr: addr}
}

// listening is a server's socket for a service.
func listening(t testing.TB, service uint16, cfg *rxrpc.SocketConfig) *rxrpc.Socket {
	t.Helper()
	s := socket(t, cfg)
	require.NoError(t, s.Bind(at(service, local4)))
	require.NoError(t, s.Listen(10))
	return s
}

// connected is a client's socket.
func connected(t testing.TB, to *rxrpc.Socket, cfg *rxrpc.SocketConfig) *rxrpc.Socket {
	t.Helper()
	s := socket(t, cfg)
	require.NoError(t, s.Connect(to.Getsockname()))
	return s
}

func tag(id uint64) rxrpc.Control { return rxrpc.Control{CallID: id, HasCallID: true} }

func command(id uint64, c rxrpc.ControlType) rxrpc.Control {
	return rxrpc.Control{CallID: id, HasCallID: true, Command: c}
}

// sends sends and must succeed.
func sends(t testing.TB, s *rxrpc.Socket, m rxrpc.Msg) {
	t.Helper()
	n, err := s.Sendmsg(soon(t), m)
	require.NoError(t, err)
	require.Equal(t, len(m.Data), n)
}

// receives receives and must succeed.
func receives(t testing.TB, s *rxrpc.Socket, flags rxrpc.MsgFlags) rxrpc.Msg {
	t.Helper()
	m, err := s.Recvmsg(soon(t), make([]byte, 1<<16), flags)
	require.NoError(t, err)
	return m
}

// phase receives the data of a call's phase, to its end.
func phase(t testing.TB, s *rxrpc.Socket, id uint64) ([]byte, rxrpc.MsgFlags) {
	t.Helper()
	var data []byte
	for {
		m := receives(t, s, 0)
		require.Equal(t, tag(id), m.Control)
		data = append(data, m.Data...)
		if m.Flags&rxrpc.MsgMore == 0 {
			return data, m.Flags
		}
	}
}

func errorsIs(err error, n syscall.Errno) bool {
	var e syscall.Errno
	return err != nil && asErrno(err, &e) && e == n
}

func asErrno(err error, e *syscall.Errno) bool { return errors.As(err, e) }
