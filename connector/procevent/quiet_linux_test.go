package procevent

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/nlconn"
	"github.com/cnbus/cnbus/internal/testenv"
)

// quiet waits until the kernel produces no process events. While others listen it waits for
// them. If it produces though nobody listens, somebody ended without IGNORE: with mend, which is
// for the beginning of a test, that is taken back (who was killed could not); without, the test fails.
func quiet(t *testing.T, mend bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	alone := 0 // looks in a row that found nobody
	for deadline := time.Now().Add(time.Minute); produces(t); <-tick.C {
		if alone++; members(t) > 0 {
			alone = 0
		}
		switch {
		case time.Now().After(deadline):
			testenv.Skip(t, "somebody else listens to process events")
		case alone < 10: // somebody is there, or has just gone, or is about to take its IGNORE back
		case mend:
			lower(t)
			alone = 0
		default:
			require.FailNow(t, "the kernel goes on producing process events for nobody")
		}
	}
}

// produces reports whether the kernel produces events, by a socket that did not ask for any.
func produces(t *testing.T) bool {
	s, err := nlconn.Dial(nil)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Join(Group))
	spawn(t, 1) // the kernel queues events before what causes them returns
	m, err := s.MemInfo()
	require.NoError(t, err)
	return m.Queued > 0
}

// members counts the sockets that are in the group.
func members(t *testing.T) (n int) {
	text, err := os.ReadFile("/proc/net/netlink")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		// sk Eth Pid Groups ...; the groups as a hexadecimal mask
		if f := strings.Fields(line); len(f) > 3 && f[1] == "11" && strings.ContainsAny(f[3][len(f[3])-1:], "13579bdf") {
			n++
		}
	}
	return n
}

// lower takes one from the kernel's count of listeners.
func lower(t *testing.T) {
	s, err := nlconn.Dial(nil)
	require.NoError(t, err)
	defer s.Close()
	var c Client
	err = errors.Join(
		s.Send(c.request(opNothing, 0, false, 1), 0, 0), // or the IGNORE of a new socket does not count
		s.Send(c.request(opIgnore, 0, false, 1), 0, 0),
	)
	require.NoError(t, err)
}
