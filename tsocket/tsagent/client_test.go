package tsagent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestEchoOverTCP(t *testing.T) {
	onEach(t, nil, testEcho)
}

func testEcho(t *testing.T, s *site) {
	l, err := tsocket.ListenTCP(local4(0), nil)
	require.NoError(t, err)
	defer l.Close()
	c := s.client(t)
	a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	b, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer b.Close()
	require.Equal(t, l.Addr(), a.RemoteAddr())
	require.Equal(t, b.RemoteAddr(), a.LocalAddr())
	_, err = a.Writev(soon(t), []byte("hello"))
	require.NoError(t, err)
	got := make([]byte, 5)
	_, err = b.Readv(soon(t), got)
	require.NoError(t, err)
	_, err = b.Writev(soon(t), got)
	require.NoError(t, err)
	_, err = a.Readv(soon(t), got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.NoError(t, a.Disconnect(soon(t)))
}
