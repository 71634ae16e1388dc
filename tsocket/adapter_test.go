package tsocket_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/cnbus/cnbus/tsocket"
)

// adapted are all the ways to a pair of streams, those of package net included.
var adapted = append([]struct {
	name string
	make func(t testing.TB) (a, b *tsocket.Stream)
}{
	{"pipe", func(t testing.TB) (a, b *tsocket.Stream) {
		a, b = tsocket.Pipe()
		closeLater(t, a, b)
		return a, b
	}},
	{"net.Pipe", func(t testing.TB) (a, b *tsocket.Stream) {
		c, d := net.Pipe()
		a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
		closeLater(t, a, b)
		return a, b
	}},
	{"net.TCPConn", func(t testing.TB) (a, b *tsocket.Stream) { return netPair(t, "tcp", "127.0.0.1:0") }},
	{"net.UnixConn", func(t testing.TB) (a, b *tsocket.Stream) {
		return netPair(t, "unix", socketPath(t, "n").Path())
	}},
	{"both ways", func(t testing.TB) (a, b *tsocket.Stream) {
		c, d := unixPair(t)
		a, b = tsocket.FromNetConn(tsocket.AsNetConn(c)), tsocket.FromNetConn(tsocket.AsNetConn(d))
		closeLater(t, a, b)
		return a, b
	}},
}, streamPairs...)

// netPair returns streams over two connected conns of package net.
func netPair(t testing.TB, network, address string) (a, b *tsocket.Stream) {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	dialled := make(chan net.Conn, 1)
	go func() {
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			c = nil
		}
		dialled <- c
	}()
	d, err := l.Accept()
	require.NoError(t, err)
	c := <-dialled
	require.NotNil(t, c)
	a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
	closeLater(t, a, b)
	return a, b
}

// Every kind of stream passes package net's own test of a net.Conn.
func TestNettest(t *testing.T) {
	for _, p := range adapted {
		t.Run(p.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b := p.make(t)
				c1, c2 = tsocket.AsNetConn(a), tsocket.AsNetConn(b)
				return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, nil
			})
		})
	}
}
