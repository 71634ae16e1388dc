package procevent

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/internal/usernet"
)

// dialKernel subscribes to the real kernel, or skips.
func dialKernel(t *testing.T, cfg *Config) *Client {
	t.Helper()
	c, err := Dial(t.Context(), cfg)
	switch {
	case errors.Is(err, ErrNoKernel), errors.Is(err, ErrSilent), errors.Is(err, connector.ErrPermission), errors.Is(err, unix.EPROTONOSUPPORT):
		testenv.Skip(t, "no process events here: "+err.Error())
	}
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// spawn runs /bin/true n times.
func spawn(t *testing.T, n int) {
	t.Helper()
	for range n {
		require.NoError(t, exec.Command("/bin/true").Run())
	}
}

// until reads events until one satisfies done.
func until(t *testing.T, c interface {
	Recv(context.Context) (Event, error)
}, done func(*Event) bool,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		e, err := c.Recv(ctx)
		require.NoError(t, err)
		if done(&e) {
			return
		}
	}
}

// A child is seen from its fork to its end, with its status.
func TestIntegrationLifeOfAProcess(t *testing.T) {
	c := dialKernel(t, &Config{Enrich: EnrichAll})
	cmd := exec.Command("/bin/sh", "-c", "exit 7")
	require.NoError(t, cmd.Start())
	pid := uint32(cmd.Process.Pid)
	var seen []Kind
	until(t, c, func(e *Event) bool {
		if e.Tgid != pid || e.IsThread() {
			return false
		}
		seen = append(seen, e.Kind)
		switch e.Kind {
		case Fork:
			assert.EqualValues(t, os.Getpid(), e.ParentTgid)
			if assert.NotNil(t, e.Info, "a fork is known by its parent") {
				assert.EqualValues(t, os.Getuid(), e.Info.UID)
			}
		case Exit:
			assert.Equal(t, 7, e.Status())
			assert.Zero(t, e.Signal())
			assert.EqualValues(t, unix.SIGCHLD, e.ExitSignal)
			return true
		}
		return false
	})
	require.Error(t, cmd.Wait())
	assert.Equal(t, []Kind{Fork, Exec, Exit}, seen)
}

// Thousands of processes: nothing is missing, and the ledger can prove it.
func TestIntegrationThousandsOfForksExactly(t *testing.T) {
	const n = 2000
	spawn(t, 1) // before its first child package os starts one more, to try pidfds
	c := dialKernel(t, &Config{ReadBuffer: 8 << 20})
	done := make(chan struct{})
	go func() {
		defer close(done)
		spawn(t, n)
	}()
	me := uint32(os.Getpid())
	mine := make(map[uint32]Kind)
	forks, execs, exits := 0, 0, 0
	until(t, c, func(e *Event) bool {
		switch {
		case e.Kind == Fork && e.ParentTgid == me && !e.IsThread():
			mine[e.Tgid] = Fork
			forks++
		case e.Kind == Exec && mine[e.Tgid] == Fork:
			mine[e.Tgid] = Exec
			execs++
		case e.Kind == Exit && !e.IsThread() && mine[e.Tgid] == Exec:
			delete(mine, e.Tgid)
			exits++
		}
		assert.NotEqual(t, Lost, e.Kind)
		return exits == n
	})
	<-done
	assert.Equal(t, n, forks)
	assert.Equal(t, n, execs)
	l, err := c.Audit(t.Context())
	require.NoError(t, err)
	assert.True(t, l.Complete(), "%+v", l)
	assert.Zero(t, l.Gaps)
	assert.Zero(t, l.Drops)
}

// produced sums what the CPUs produced between two probes of all of them.
func produced(from, to Ledger) (n uint64) {
	first := make(map[uint32]uint32)
	for _, c := range from.CPUs {
		first[c.CPU] = c.Last
	}
	for _, c := range to.CPUs {
		n += uint64(c.Last - first[c.CPU])
	}
	return n
}

// auditWhileReading reads until the audit is done: its answers come behind what is queued.
func auditWhileReading(t *testing.T, c *Client, take func(*Event)) Ledger {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var l Ledger
	var err error
	go func() {
		defer cancel()
		l, err = c.Audit(t.Context())
	}()
	for {
		e, rerr := c.Recv(ctx)
		if rerr != nil {
			<-ctx.Done()
			require.NoError(t, err)
			return l
		}
		take(&e)
	}
}

// The reader stalls until the kernel has dropped messages: reported lost +
// received == produced, and the stream goes on.
func TestIntegrationStalledReaderLosesExactly(t *testing.T) {
	c := dialKernel(t, &Config{ReadBuffer: -1, MaxReadBuffer: -1, Queue: 1, Probe: -1})
	before := auditWhileReading(t, c, func(*Event) {})

	for c.dropsNow() < 500 { // nobody reads
		spawn(t, 50)
	}
	var received, lost uint64
	episodes := 0
	take := func(e *Event) {
		if e.Kind == Lost {
			assert.True(t, e.Exact)
			lost += e.Count
			episodes++
			return
		}
		received++
	}
	until(t, c, func(e *Event) bool { take(e); return e.Kind == Lost })
	assert.GreaterOrEqual(t, lost, uint64(500))

	// The stream goes on: the end of the next child is seen.
	cmd := exec.Command("/bin/true")
	require.NoError(t, cmd.Run())
	until(t, c, func(e *Event) bool { take(e); return e.Kind == Exit && e.Tgid == uint32(cmd.Process.Pid) })

	l := auditWhileReading(t, c, take) // makes the sums comparable
	assert.True(t, l.Audited)
	assert.Equal(t, l.Drops, l.Gaps, "the kernel's count of drops and the CPUs' counters agree")
	assert.Equal(t, l.Lost, lost, "every loss was told")
	assert.Equal(t, produced(before, l), l.Received-before.Received+l.Lost, "received + reported lost == produced")
	assert.GreaterOrEqual(t, l.Overruns, uint64(1))
	assert.GreaterOrEqual(t, l.Delivered, received)
	t.Logf("lost %d in %d runs, received %d", lost, episodes, received)
}

// The buffer grows as it overruns, up to what is allowed.
func TestIntegrationBufferGrows(t *testing.T) {
	c := dialKernel(t, &Config{ReadBuffer: 64 << 10, MaxReadBuffer: 256 << 10, Queue: 1, Probe: -1})
	first := c.Ledger().ReadBuffer
	for range 2 {
		was := c.dropsNow()
		for c.dropsNow() == was {
			spawn(t, 20)
		}
		until(t, c, func(e *Event) bool { return e.Kind == Lost })
	}
	assert.Greater(t, c.Ledger().ReadBuffer, first)
	assert.LessOrEqual(t, c.Ledger().ReadBuffer, 256<<10)
}

// root can send to the group too; what it sends is no event.
func TestIntegrationForgedEventIsRefusedAndCounted(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Skip(t, "sending to a group needs root")
	}
	c := dialKernel(t, nil)
	s, err := nlconn.Dial(nil)
	require.NoError(t, err)
	defer s.Close()
	forged := Event{Kind: Exec, Pid: 4242424, Tgid: 4242424}
	data, err := forged.Append(nil, native)
	require.NoError(t, err)
	b, err := connector.Message{ID: ID, Seq: 1, Data: data}.AppendNetlink(nil, native, 0) // claims port 0
	require.NoError(t, err)
	require.NoError(t, s.Send(b, 0, Group))
	cmd := exec.Command("/bin/true")
	require.NoError(t, cmd.Run())
	until(t, c, func(e *Event) bool {
		assert.NotEqual(t, uint32(4242424), e.Tgid)
		return e.Kind == Exit && e.Tgid == uint32(cmd.Process.Pid)
	})
	assert.GreaterOrEqual(t, c.Ledger().Forged, uint64(1))
}

func TestIntegrationWorksAsNobody(t *testing.T) {
	usernet.As(t, 65534, func(t *testing.T) {
		c := dialKernel(t, &Config{ReadBuffer: 1 << 20})
		cmd := exec.Command("/bin/true")
		require.NoError(t, cmd.Run())
		until(t, c, func(e *Event) bool { return e.Kind == Exit && e.Tgid == uint32(cmd.Process.Pid) })
		l, err := c.Audit(t.Context())
		require.NoError(t, err)
		assert.True(t, l.Complete(), "%+v", l)
	})
}

// Another network namespace has no kernel side; the error says so.
func TestIntegrationChildNetworkNamespace(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		_, err := Dial(t.Context(), nil)
		require.ErrorIs(t, err, ErrNoKernel)
		require.ErrorIs(t, err, unix.ECONNREFUSED)
		assert.Contains(t, err.Error(), "initial")
	})
}

// The mask reaches the kernel: what it excludes is not even received.
func TestIntegrationMask(t *testing.T) {
	c := dialKernel(t, &Config{Kinds: MaskOf(Exec), Probe: time.Hour})
	if !c.modern {
		testenv.Skip(t, "this kernel has no masks")
	}
	before := c.Ledger()
	spawn(t, 20)
	execs := 0
	until(t, c, func(e *Event) bool {
		assert.Equal(t, Exec, e.Kind)
		execs++
		return execs >= 20
	})
	l := c.Ledger()
	assert.Zero(t, l.Filtered-before.Filtered, "the kernel filtered")
	_, err := c.Audit(t.Context())
	require.NoError(t, err, "a subscription with a mask is probed too")
	assert.Zero(t, c.Ledger().Gaps)
}

// Close takes the subscription back: the kernel produces nothing afterwards, unless for
// somebody else.
func TestIntegrationIgnoreOnClose(t *testing.T) {
	dialKernel(t, nil).Close()
	quiet(t, true)
	for range 3 {
		c := dialKernel(t, nil)
		_, err := c.Audit(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Close())
		quiet(t, false)
	}
}
