//go:build linux

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

// hostEvent returns a function that matches the event of a process as one host tells it.
func hostEvent(host, kind string, pid int) func(string) []string {
	of := event(kind, pid)
	return func(line string) []string {
		var e struct{ Host string }
		if json.Unmarshal([]byte(line), &e) != nil || e.Host != host {
			return nil
		}
		return of(line)
	}
}

// The kernel's events of all hosts on one screen, for an unprivileged user, by the brokers of two hosts (of one kernel
// here, whose events each tells as its own); a host that dies is told, and one that comes back.
func TestProcAllHosts(t *testing.T) {
	one, two := newSite(t), newSite(t)
	nats := freeAddr(t)
	first := one.broker("--join", "embedded", "--embedded-listen", nats, "--host", "one", "--host-uids", "same", "--lease", "10s")
	if line := first.expect(`^serving `)[0]; !strings.Contains(line, "process events: yes") { // it may have joined before it said that
		testenv.Skip(t, "no process events here: "+line)
	}
	first.expect(`joined site main as host one`)
	serve := []string{"--join", "nats://" + nats, "--host", "two", "--host-uids", "same", "--lease", "10s"}
	second := two.broker(serve...)
	second.expect(`joined site main as host two`)

	p := one.start("cnbus", "proc", "--all-hosts", "--json", "--event", "exec,exit")
	lines := one.start("cnbus", "proc", "--all-hosts", "--event", "nonzero-exit")
	for _, host := range []string{"one", "two"} {
		p.expect(`"host":"` + host + `".*"change":"here"`)
		lines.expect(`^[\d:.]+  ` + host + `  follows from here on$`)
	}
	child := exec.Command("sh", "-c", "exit 7")
	require.Error(t, child.Run())
	for _, host := range []string{"one", "two"} {
		m := p.expectFunc("the exec on "+host, hostEvent(host, "exec", child.Process.Pid))
		assert.Regexp(t, `^\{"host":"`+host+`","host_number":\d+,"at":"[^"]+","event":"exec",`, m[0])
		p.expectFunc("the exit on "+host, hostEvent(host, "exit", child.Process.Pid))
		lines.expect(`^[\d:.]+  ` + host + `  exit +\d+ .* status 7`)
	}

	second.end(syscall.SIGKILL)
	p.expect(`"host":"two".*"change":"gone"`)
	lines.expect(`two  is gone$`)
	two.broker(serve...).expect(`joined site main as host two`)
	p.expect(`"host":"two".*"change":"here"`)
	p.expect(`"host":"two".*"event":"lost","count":0,"exact":false`)
	child = exec.Command("true")
	require.NoError(t, child.Run())
	p.expectFunc("the exec on one", hostEvent("one", "exec", child.Process.Pid))
	p.expectFunc("the exec on two", hostEvent("two", "exec", child.Process.Pid))
	for _, p := range []*program{p, lines} {
		assert.Equal(t, 130, p.end(syscall.SIGINT))
	}
}

func TestProcAllHostsRefusals(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{2, "does not go with --all-hosts", []string{"--direct"}},
		{2, "a process id is of one host", []string{"--pid-tree", "1"}},
		{1, "this broker has not joined others", nil},
	} {
		r := s.run("cnbus", append([]string{"proc", "--all-hosts"}, c.args...)...)
		assert.Equal(t, c.code, r.code, "%v", c.args)
		assert.Contains(t, r.err, c.want)
	}
}
