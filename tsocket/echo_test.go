package tsocket_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// tcpPair returns two connected TCP streams.
func tcpPair(t testing.TB) (client, server *tsocket.Stream) {
	return connected(t, loopback4(t))
}

func connected(t testing.TB, at tsocket.Addr) (client, server *tsocket.Stream) {
	var l *tsocket.Listener
	var err error
	if at.IsUnix() {
		l, err = tsocket.ListenUnix(at, nil)
	} else {
		l, err = tsocket.ListenTCP(at, nil)
	}
	require.NoError(t, err)
	accepting := l.AcceptSend(soon(t))
	if at.IsUnix() {
		client, err = tsocket.DialUnix(soon(t), tsocket.Addr{}, l.Addr())
	} else {
		client, err = tsocket.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
	}
	require.NoError(t, err)
	server, err = accepting.Wait(soon(t))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	closeLater(t, client, server)
	return client, server
}

// streamPairs are the ways to make two connected streams.
var streamPairs = []struct {
	name string
	make func(t testing.TB) (a, b *tsocket.Stream)
}{
	{"socketpair", unixPair},
	{"unix", func(t testing.TB) (a, b *tsocket.Stream) { return connected(t, socketPath(t, "s")) }},
	{"tcp", tcpPair},
	{"tcp6", func(t testing.TB) (a, b *tsocket.Stream) {
		at, err := tsocket.ParseIP("ipv6", "::1", 0)
		require.NoError(t, err)
		return connected(t, at)
	}},
}

func TestStreamEcho(t *testing.T) {
	for _, p := range streamPairs {
		t.Run(p.name, func(t *testing.T) {
			a, b := p.make(t)
			read := b.ReadvSend(background, make([]byte, 5))
			require.True(t, read.InProgress())
			_, err := read.Result()
			require.ErrorIs(t, err, tsocket.ErrInProgress)

			n, err := a.Writev(background, []byte("he"), []byte("llo"))
			require.NoError(t, err)
			require.EqualValues(t, 5, n)
			n, err = read.Wait(soon(t))
			require.NoError(t, err)
			require.EqualValues(t, 5, n)

			called := make(chan int64, 1)
			buf := make([]byte, 3)
			a.ReadvSend(background, buf).OnDone(func(r *tsocket.Request[int64]) {
				n, err := r.Result()
				assert.NoError(t, err)
				called <- n
			})
			_, err = b.WritevSend(background, []byte("abc")).Wait(soon(t))
			require.NoError(t, err)
			require.EqualValues(t, 3, <-called)
			require.Equal(t, "abc", string(buf))

			stuck := a.ReadvSend(background, buf)
			require.True(t, stuck.Cancel())
			_, err = stuck.Wait(soon(t))
			require.ErrorIs(t, err, tsocket.ErrCanceled)
			require.False(t, stuck.Cancel())

			_, err = b.Writev(background, []byte("xyz"))
			require.NoError(t, err)
			_, err = a.Readv(soon(t), buf)
			require.NoError(t, err)
			require.Equal(t, "xyz", string(buf))
		})
	}
}

func TestUDPEcho(t *testing.T) {
	a, err := tsocket.UDP(loopback4(t), tsocket.Addr{})
	require.NoError(t, err)
	b, err := tsocket.UDP(loopback4(t), tsocket.Addr{})
	require.NoError(t, err)
	closeLater(t, a, b)

	receiving := b.RecvFromSend(background)
	n, err := a.SendTo(background, []byte("ping"), b.LocalAddr())
	require.NoError(t, err)
	require.Equal(t, 4, n)
	got, err := receiving.Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "ping", string(got.Data))
	require.Equal(t, a.LocalAddr(), got.Src)

	_, err = b.SendToSend(background, []byte("pong"), got.Src).Wait(soon(t))
	require.NoError(t, err)
	buf := make([]byte, 100)
	n, src, err := a.RecvFrom(soon(t), buf)
	require.NoError(t, err)
	require.Equal(t, "pong", string(buf[:n]))
	require.Equal(t, b.LocalAddr(), src)
}
