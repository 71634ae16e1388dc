//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// memory is a line of /proc/PID/status in bytes: VmRSS, or VmHWM for the most there was.
func (s *site) memory(field string) int64 {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid()))
	require.NoError(s.t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			require.NoError(s.t, err)
			return n << 10
		}
	}
	require.Fail(s.t, "no such line", "%s in\n%s", field, b)
	return 0
}

// mib is an amount of memory; the race detector's shadow of it multiplies it.
func mib(n int64) int64 {
	if raceEnabled {
		n *= 10
	}
	return n << 20
}

// fds is how many descriptors the broker has.
func (s *site) fds() int {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid()))
	require.NoError(s.t, err)
	return len(d)
}

// goroutines makes the broker give back what memory it can, and returns how many
// goroutines it has.
func (s *site) goroutines() int {
	s.signal(syscall.SIGUSR1)
	n, err := strconv.Atoi(s.line())
	require.NoError(s.t, err)
	return n
}

// observer asks the broker about itself.
type observer struct {
	t   testing.TB
	s   *site
	bus *client.Bus
}

func (s *site) observer() *observer {
	return &observer{t: s.t, s: s, bus: s.bus("observer")}
}

func ask[T any](o *observer, what string) (v T) {
	o.t.Helper()
	b, err := o.bus.Query(limited(o.t), what)
	require.NoError(o.t, err)
	require.NoError(o.t, json.Unmarshal(b, &v))
	return v
}

func (o *observer) stat() broker.StatRow { return ask[broker.StatRow](o, "stat") }

// conn returns the row of a client, by its port.
func (o *observer) conn(port uint32) broker.ConnRow {
	o.t.Helper()
	for _, row := range ask[[]broker.ConnRow](o, "conns") {
		if row.Port == port {
			return row
		}
	}
	return broker.ConnRow{}
}

// messages is how many messages were for a registered id.
func (o *observer) messages(id cbid.ID) uint64 {
	o.t.Helper()
	for _, row := range ask[[]broker.IDRow](o, "ids") {
		if row.ID == id {
			return row.Messages
		}
	}
	return 0
}

// state is what clients leave behind them when they should not.
type state struct {
	Clients, IDs, Groups, Monitors int
	Users                          string
	FDs, Goroutines                int
}

func (o *observer) state() state {
	st := o.stat()
	s := state{Clients: st.Clients, IDs: st.IDs, Groups: st.Groups, Monitors: st.Monitors, FDs: o.s.fds(), Goroutines: o.s.goroutines()}
	for _, u := range st.Users {
		s.Users += fmt.Sprintf("%d: %d %d %d %d %d %d;", u.UID, u.Connections, u.Registrations, u.Memberships, u.Watches, u.QueuedBytes, u.HistoryBytes)
	}
	return s
}

// settled is the state once the broker has done with all that came before: of what one look has closed, the next
// may still find something.
func (o *observer) settled() (s state) {
	o.t.Helper()
	last, same := o.state(), 0
	eventually(o.t, "the broker has settled", func() bool {
		s = o.state()
		if s != last {
			last, same = s, 0
			return false
		}
		same++
		return same == 3
	})
	return s
}

// back waits until the broker holds what it held at first.
func (o *observer) back(first state) {
	o.t.Helper()
	var last state
	ok := false
	defer func() {
		if !ok {
			assert.Equal(o.t, first, last)
		}
	}()
	eventually(o.t, "the broker is as it was", func() bool {
		last = o.state()
		return last == first
	})
	ok = true
}
