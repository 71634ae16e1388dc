package bussock_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// The rules between two processes: the other end is in a process that does to a unix socket what
// happens to the stream, and the other way round. First this one connects, then that one.
func TestStreamsBetweenProcesses(t *testing.T) {
	s := newSite(t)
	at := s.path + ".u"
	l, err := tsocket.ListenUnix(tsocket.MustAddr(tsocket.UnixAddr(at)), nil)
	require.NoError(t, err)
	defer l.Close()
	launch(t, "streams", s.path, at)
	n := node(t, s.dial(), nil)
	own, err := n.Listen(soon(t), dialedID, nil)
	require.NoError(t, err)
	closeLater := func(t testing.TB, a, b *tsocket.Stream) { t.Cleanup(func() { _, _ = a.Close(), b.Close() }) }
	for name, pair := range map[string]func(t testing.TB) (a, b *tsocket.Stream){
		"connecting": func(t testing.TB) (a, b *tsocket.Stream) {
			a, err := n.Dial(soon(t), listenID)
			require.NoError(t, err)
			b, err = l.Accept(soon(t))
			require.NoError(t, err)
			closeLater(t, a, b)
			return a, b
		},
		"accepting": func(t testing.TB) (a, b *tsocket.Stream) {
			b, err := tsocket.DialUnix(soon(t), tsocket.Addr{}, tsocket.MustAddr(tsocket.UnixAddr(at+".d")))
			require.NoError(t, err)
			a, err = own.Accept(soon(t))
			require.NoError(t, err)
			closeLater(t, a, b)
			return a, b
		},
	} {
		t.Run(name, func(t *testing.T) { tstest.TestStreams(t, tstest.Streams{Pair: pair, Ignore: ignored}) })
	}
}

func TestDgramsBetweenProcesses(t *testing.T) {
	s := newSite(t)
	at := s.path + ".u"
	launch(t, "dgrams", s.path, at)
	n := node(t, s.dial(), nil)
	tstest.TestDgrams(t, tstest.Dgrams{Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
		a, err := n.Dgram(nil)
		require.NoError(t, err)
		u, err := tsocket.DialUnix(soon(t), tsocket.Addr{}, tsocket.MustAddr(tsocket.UnixAddr(at)))
		require.NoError(t, err)
		far := newFarDgram(u)
		_, far.local, err = far.RecvFrom(soon(t), nil)
		require.NoError(t, err)
		b = tsocket.NewDgram(far)
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a, b
	}, Max: bussock.MaxDgram, Ignore: ignored})
}
