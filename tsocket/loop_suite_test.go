package tsocket_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// onLoop attaches both ends of the pairs that pair makes to a loop of that kind.
func onLoop[S tsocket.Socket](makeLoop func(*tsocket.LoopConfig) (*tsocket.Loop, error), pair func(t testing.TB) (a, b S)) func(t testing.TB) (a, b S) {
	return func(t testing.TB) (a, b S) {
		l, err := makeLoop(nil)
		require.NoError(t, err)
		start(t, l)
		a, b = pair(t)
		require.NoError(t, l.Attach(a))
		require.NoError(t, l.Attach(b))
		return a, b
	}
}

func loopPipe(t testing.TB) (a, b *tsocket.Stream) {
	a, b = tsocket.Pipe()
	closeLater(t, a, b)
	return a, b
}

// TestLoopStreams: streams that are attached to a loop keep every rule.
func TestLoopStreams(t *testing.T) {
	for _, kind := range loopKinds {
		for name, pair := range map[string]func(t testing.TB) (a, b *tsocket.Stream){
			"SocketPair": unixPair,
			"TCP":        tcpPair,
			"Pipe":       loopPipe,
		} {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				tstest.TestStreams(t, tstest.Streams{Pair: onLoop(kind.make, pair)})
			})
		}
	}
}

// TestLoopDgrams: so do datagram sockets.
func TestLoopDgrams(t *testing.T) {
	for _, kind := range loopKinds {
		for name, k := range map[string]tstest.Dgrams{
			"UDP": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				return udp(t, loopback4(t), tsocket.Addr{}), udp(t, loopback4(t), tsocket.Addr{})
			}, Max: 65507},
			"unix": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				return unixDgram(t, socketPath(t, "a"), tsocket.Addr{}), unixDgram(t, socketPath(t, "b"), tsocket.Addr{})
			}, Max: 100_000, Waits: true},
			"UnixDgramPair": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				a, b, err := tsocket.UnixDgramPair()
				require.NoError(t, err)
				closeLater(t, a, b)
				return a, b
			}, Connected: true, Max: 100_000, Waits: true},
			"memory": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				a, b = tsocket.PipeDgram()
				closeLater(t, a, b)
				return a, b
			}, Connected: true, Max: 1 << 20, Waits: true},
		} {
			k.Pair = onLoop(kind.make, k.Pair)
			t.Run(kind.name+" "+name, func(t *testing.T) { tstest.TestDgrams(t, k) })
		}
	}
}
