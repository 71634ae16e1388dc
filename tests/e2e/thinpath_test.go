//go:build linux

package e2e

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

// withEvents starts a broker that offers process events, or skips.
func withEvents(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	b := s.broker()
	if line := b.all()[0]; !strings.Contains(line, "process events: yes") {
		testenv.Skip(t, "no process events here: "+line)
	}
	return s
}

// event returns a function that matches the event of a process.
func event(kind string, pid int) func(string) []string {
	return func(line string) []string {
		var e struct {
			Event     string
			Pid, Tgid int
		}
		if json.Unmarshal([]byte(line), &e) != nil || e.Event != kind || e.Tgid != pid {
			return nil
		}
		return []string{line}
	}
}

// The thin path: the kernel's events reach two unprivileged programs through
// one subscription of the broker, and a third is told when an id appears and goes.
func TestThinPath(t *testing.T) {
	s := withEvents(t)
	one := s.start("cnbus", "proc", "--json")
	two := s.start("cnbus", "proc", "--json", "--event", "exec,exit")
	three := s.start("cnbus", "watch", "--json")
	one.expect(`^following process events`)
	two.expect(`^following process events`)
	three.expect(`"change":"marker"`)

	child := exec.Command("true")
	require.NoError(t, child.Run())
	pid := child.Process.Pid
	for _, p := range []*program{one, two} {
		p.expectFunc("the exec", event("exec", pid))
		p.expectFunc("the exit", event("exit", pid))
	}
	assert.Contains(t, s.ok("ls", "--json", "proc"), `"id":"1:1","name":"proc","group":1,"owner":{`)

	agent := s.start("cnbus", "listen", "--id", "0x123:0x456", "--name", "cn_test")
	m := three.expect(`"change":"added",.*"id":"291:1110","name":"cn_test","group":291,"owner":\{.*"pid":(\d+)`)
	assert.Equal(t, strconv.Itoa(agent.cmd.Process.Pid), m[1])
	agent.end(syscall.SIGKILL)
	three.expect(`"change":"removed",.*"id":"291:1110"`)

	for _, p := range []*program{one, two, three} {
		assert.Equal(t, 130, p.end(syscall.SIGINT))
	}
}

// A filter keeps out what it should and lets pass what it should.
func TestProcFilters(t *testing.T) {
	s := withEvents(t)
	tree := s.start("cnbus", "proc", "--json", "--pid-tree", strconv.Itoa(syscall.Getpid()))
	fails := s.start("cnbus", "proc", "--event", "nonzero-exit")
	tree.expect(`^following process events`)
	fails.expect(`^following process events`)
	good := exec.Command("true")
	require.NoError(t, good.Run())
	bad := exec.Command("sh", "-c", "exit 7")
	require.Error(t, bad.Run())
	tree.expectFunc("the fork", event("fork", good.Process.Pid))
	tree.expectFunc("the exit", event("exit", bad.Process.Pid))
	fails.expect(`exit +` + strconv.Itoa(bad.Process.Pid) + `\b.* status 7`)
	for _, line := range fails.all() {
		assert.NotContains(t, line, "status 0")
	}
}

// --tree indents by descent and tells how long each process ran.
func TestProcTree(t *testing.T) {
	s := withEvents(t)
	p := s.start("cnbus", "proc", "--tree")
	p.expect(`^following process events`)
	sh := exec.Command("sh", "-c", "true; sh -c 'exit 3'; exit 0")
	require.NoError(t, sh.Run())
	pid := strconv.Itoa(sh.Process.Pid)
	p.expect(`^[\d:.]+  fork +` + pid + `  .*by \d+$`)
	p.expect(`^[\d:.]+    exit +\d+ .* status 3 after `)
	p.expect(`^[\d:.]+  exit +` + pid + `  .* status 0 after `)
}

// Without a broker, from the kernel itself.
func TestProcDirect(t *testing.T) {
	s := withEvents(t)
	s.env = append(s.env, "CNBUS_SOCKET="+s.dir+"/none")
	p := s.start("cnbus", "proc", "--direct", "--json", "--event", "exec")
	p.expect(`^following process events from the kernel`)
	child := exec.Command("true")
	require.NoError(t, child.Run())
	p.expectFunc("the exec", event("exec", child.Process.Pid))
	for _, line := range p.all()[1:] {
		assert.Regexp(t, `"event":"(exec|lost)"`, line)
	}
	assert.Equal(t, 143, p.end(syscall.SIGTERM))
}

// Who prints to nobody ends quietly, and takes the kernel subscription back on the way.
func TestProcEndsWhenNobodyReads(t *testing.T) {
	s := withEvents(t)
	c := s.command("sh", "-c", `{ cnbus proc --direct -q; echo "code $?" >&2; } | head -n 1`)
	p := s.startCmd(c)
	deadline := s.deadline()
	for running := true; running; {
		require.NoError(t, exec.Command("true").Run())
		select {
		case <-p.done:
			running = false
		case <-deadline:
			p.stacks()
			require.Fail(t, "it goes on printing to nobody")
		default:
		}
	}
	p.expect(`^code 0$`)
	assert.Len(t, p.all(), 2)
}
