package tstest

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/cnbus/cnbus/tsocket"
)

// Streams is a kind of stream, and what it cannot do.
type Streams struct {
	// Pair makes two connected streams, and closes them and what they stand
	// on in a Cleanup of t.
	Pair func(t testing.TB) (a, b *tsocket.Stream)

	// MaxWrite is the largest write that it takes; more is EMSGSIZE. 0 is no limit.
	MaxWrite int
	// NoCloseWrite: it has no CloseWrite.
	NoCloseWrite bool
	// NoMonitor: a monitor learns of the end only from another operation.
	NoMonitor bool
	// QuietPending: PendingBytes tells of bytes only, not that the peer is gone.
	QuietPending bool
	// Ignore are functions (as goleak.IgnoreAnyFunction takes them) of goroutines that what the streams stand on
	// starts when it likes.
	Ignore []string
}

type streamTest struct {
	name string
	run  func(t *testing.T, k Streams)
}

// TestStreams runs everything. Other tests must not run at the same time in the
// process, for goroutines and descriptors are counted.
func TestStreams(t *testing.T, k Streams) {
	streamTransfer(t, k) // also makes what lives as long as the process
	streamMonitor(t, k)
	leaks := watchLeaks(t, k.Ignore)
	for _, test := range []streamTest{
		{"transfer", streamTransfer},
		{"duplex", streamDuplex},
		{"many vectors", streamVectors},
		{"order of checks", streamChecks},
		{"busy", streamBusy},
		{"requests", streamRequests},
		{"callbacks", streamCallbacks},
		{"deadlines", streamDeadlines},
		{"pending bytes", streamPending},
		{"read some", streamReadSome},
		{"try", streamTry},
		{"pdu", streamPDU},
		{"split", streamSplit},
		{"end at a boundary", streamEnd},
		{"end inside a read", streamEndInside},
		{"peer gone", streamPeerGone},
		{"half open", streamHalfOpen},
		{"close write", streamCloseWrite},
		{"cancel read", streamCancelRead},
		{"cancel read poisons", streamCancelPoisons},
		{"cancel read restores", streamCancelRestores},
		{"cancel write", streamCancelWrite},
		{"write too long", streamTooLong},
		{"monitor", streamMonitor},
		{"disconnect", streamDisconnect},
		{"close", streamClose},
		{"close while waiting", streamCloseWaiting},
		{"contexts let go", streamLetsGo},
		{"race", streamRace},
		{"net.Conn", streamNetConn},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, k) })
		leaks.check(t, test.name)
	}
}

// streamNetConn runs package net's test of connections on the adapter.
func streamNetConn(t *testing.T, k Streams) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := k.Pair(t)
		c1, c2 = tsocket.AsNetConn(a), tsocket.AsNetConn(b)
		return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, nil
	})
}
