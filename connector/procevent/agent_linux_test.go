package procevent

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector/loopback"
)

// kernelAgent is an agent of the real kernel on a loopback bus.
func kernelAgent(t *testing.T) (*Agent, func(Filter) *Subscription) {
	t.Helper()
	dialKernel(t, nil).Close() // skips where there is none
	hub := loopback.New(&loopback.Config{QueueMessages: 1 << 16, QueueBytes: 16 << 20})
	bus := hub.Open()
	a, err := NewAgent(t.Context(), bus, &AgentConfig{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, a.Close())
		assert.NoError(t, bus.Close())
	})
	return a, func(f Filter) *Subscription {
		bus := hub.Open()
		ep, err := bus.Endpoint(t.Context())
		require.NoError(t, err)
		s, err := Subscribe(t.Context(), ep, f)
		require.NoError(t, err)
		t.Cleanup(func() {
			s.Release()
			assert.NoError(t, bus.Close())
		})
		return s
	}
}

// The real kernel's events reach two subscribers, all of them, by one subscription.
func TestIntegrationAgentSharesTheKernel(t *testing.T) {
	const n = 300
	a, subscribe := kernelAgent(t)
	subs := []*Subscription{subscribe(Filter{}), subscribe(Filter{Kinds: MaskOf(Exit), Trees: []uint32{uint32(os.Getpid())}})}
	spawn(t, n)
	me := uint32(os.Getpid())
	// The first subscriber learns who the children are: an exit does not name its parent when
	// that has reaped the child before the kernel tells of it.
	children := make(map[uint32]bool)
	for _, s := range subs {
		exits := 0
		until(t, s, func(e *Event) bool {
			require.NotEqual(t, Lost, e.Kind)
			switch {
			case e.IsThread():
			case e.Kind == Fork && e.ParentTgid == me:
				children[e.Tgid] = true
			case e.Kind == Exit && children[e.Tgid]:
				exits++
			}
			return exits == n
		})
	}
	st := a.Stats()
	assert.True(t, st.Active)
	assert.Zero(t, st.Lost)
	assert.Zero(t, st.Failed)
}

// A filter by tree sees the grandchildren and nobody else.
func TestIntegrationAgentTree(t *testing.T) {
	_, subscribe := kernelAgent(t)
	cmd := exec.Command("/bin/sh", "-c", "read x; /bin/sh -c '/bin/true; /bin/false'; exit 3")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	root := uint32(cmd.Process.Pid)
	s := subscribe(Filter{Trees: []uint32{root}})
	spawn(t, 5) // not of the tree
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	family := map[uint32]bool{root: true}
	execs := 0
	until(t, s, func(e *Event) bool {
		switch e.Kind {
		case Fork:
			assert.True(t, family[e.ParentTgid], "%+v", e)
			family[e.Tgid] = true
		case Exec:
			execs++
		}
		assert.True(t, family[e.Tgid], "%v of %d", e.Kind, e.Tgid)
		return e.Kind == Exit && e.Tgid == root
	})
	assert.GreaterOrEqual(t, execs, 2)
	assert.GreaterOrEqual(t, len(family), 3)
}

// A program that is ended by a signal takes its subscription back, and still dies of
// that signal.
func TestIntegrationIgnoreOnSignal(t *testing.T) {
	dialKernel(t, nil).Close()
	quiet(t, true)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE, unix.SIGQUIT} {
		if signal.Ignored(sig) {
			t.Logf("%v is ignored (nohup): nobody dies of it", sig)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/proc/self/exe")
		cmd.Env = append(os.Environ(), childMark+"=listen", "GOTRACEBACK=none")
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "listening", strings.TrimSpace(line))
		require.NoError(t, cmd.Process.Signal(sig))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		switch sig {
		case unix.SIGQUIT:
			assert.Equal(t, 2, exit.ExitCode(), "Go's own way")
		case unix.SIGPIPE:
			assert.Equal(t, 128+int(sig), exit.ExitCode())
		default:
			assert.Equal(t, sig, exit.Sys().(interface{ Signal() unix.Signal }).Signal())
		}
		quiet(t, false)
	}
}
