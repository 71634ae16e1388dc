package tstest

import (
	"testing"

	"github.com/cnbus/cnbus/tsocket"
)

// Dgrams is a kind of datagram socket, and what it cannot do. It must lose
// nothing as long as little is waiting.
type Dgrams struct {
	// Pair makes two sockets that reach each other, and closes them in a
	// Cleanup of t.
	Pair func(t testing.TB) (a, b *tsocket.Dgram)

	// Connected: they send to the zero Addr, and datagrams have no source that
	// could be answered. Otherwise the source of a datagram is the LocalAddr of its sender, and
	// that is where answers go.
	Connected bool
	// Max is the size of the largest datagram that must arrive; 0 means 8 KiB.
	Max int
	// Waits: a sender waits for room at the receiver, so that nothing is ever
	// lost.
	Waits bool
	// Ignore are functions (as goleak.IgnoreAnyFunction takes them) of goroutines that what the sockets stand on
	// starts when it likes.
	Ignore []string
}

// to returns where a datagram for s goes.
func (k Dgrams) to(s *tsocket.Dgram) tsocket.Addr {
	if k.Connected {
		return tsocket.Addr{}
	}
	return s.LocalAddr()
}

type dgramTest struct {
	name string
	run  func(t *testing.T, k Dgrams)
}

// TestDgrams runs everything. Other tests must not run at the same time in the
// process, for goroutines and descriptors are counted.
func TestDgrams(t *testing.T, k Dgrams) {
	if k.Max == 0 {
		k.Max = 8 << 10
	}
	dgramTransfer(t, k) // also makes what lives as long as the process
	leaks := watchLeaks(t, k.Ignore)
	for _, test := range []dgramTest{
		{"transfer", dgramTransfer},
		{"sizes", dgramSizes},
		{"room", dgramRoom},
		{"batch", dgramBatch},
		{"order of checks", dgramChecks},
		{"busy", dgramBusy},
		{"requests", dgramRequests},
		{"cancel", dgramCancel},
		{"full", dgramFull},
		{"disconnect", dgramDisconnect},
		{"close", dgramClose},
		{"contexts let go", dgramLetsGo},
		{"race", dgramRace},
		{"net.PacketConn", dgramPacketConn},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, k) })
		leaks.check(t, test.name)
	}
}
