package bussock_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// carrier is a bus that everything is tested on; open opens it for each of two sides.
type carrier struct {
	name string
	open func(t testing.TB) (a, b connector.Bus)
}

var carriers = []carrier{
	{"loopback", func(t testing.TB) (a, b connector.Bus) { a = bus(t); return a, a }},
}

func TestStreams(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			a, b := node(t, x, nil), node(t, y, nil)
			tstest.TestStreams(t, tstest.Streams{Pair: func(t testing.TB) (*tsocket.Stream, *tsocket.Stream) { return pair(t, a, b) }, Ignore: ignored})
			require.Zero(t, a.Stats().Violations+b.Stats().Violations)
			require.Zero(t, a.Stats().Foreign+b.Stats().Foreign)
		})
	}
	t.Run("one node", func(t *testing.T) {
		n := node(t, bus(t), nil)
		tstest.TestStreams(t, tstest.Streams{Pair: func(t testing.TB) (*tsocket.Stream, *tsocket.Stream) { return pair(t, n, n) }})
	})
}

func TestDgrams(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			x, y := c.open(t)
			a, b := node(t, x, nil), node(t, y, nil)
			tstest.TestDgrams(t, tstest.Dgrams{Pair: func(t testing.TB) (*tsocket.Dgram, *tsocket.Dgram) {
				d, err := a.Dgram(nil)
				require.NoError(t, err)
				e, err := b.Dgram(&bussock.DgramConfig{Wait: true})
				require.NoError(t, err)
				t.Cleanup(func() { _, _ = d.Close(), e.Close() })
				return d, e
			}, Max: bussock.MaxDgram, Ignore: ignored})
		})
	}
}
