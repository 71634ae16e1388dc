//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

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

// tells runs children until p has told of all that happened to one as matches wants it. A host whose lease ended while the
// machine stood still is followed anew, which p says; what happened before that is missing.
func (p *program) tells(host, script string, matches ...func(pid int) func(string) []string) {
	p.t.Helper()
	anew := regexp.MustCompile(`"host":"` + host + `".*"change":"here"|  ` + host + `  follows from here on$`)
	for round, again := 0, true; again; round++ {
		if round == 20 {
			p.t.Fatalf("%s is followed anew all the time", host)
		}
		from := len(p.all())
		child := exec.Command("sh", "-c", script)
		_ = child.Run()
		again = false
		for i, match := range matches {
			of := match(child.Process.Pid)
			p.expectFrom(from, fmt.Sprintf("event %d of %d of %q on %s", i+1, child.Process.Pid, script, host), func(line string) []string {
				if anew.MatchString(line) {
					again = true
					return []string{line}
				}
				return of(line)
			})
		}
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
	for _, host := range []string{"one", "two"} {
		exec := func(pid int) func(string) []string { return hostEvent(host, "exec", pid) }
		exit := func(pid int) func(string) []string { return hostEvent(host, "exit", pid) }
		p.tells(host, "exit 7", exec, exit)
		p.expect(`^\{"host":"` + host + `","host_number":\d+,"at":"[^"]+","event":"exec",`)
		lines.tells(host, "exit 7", func(pid int) func(string) []string {
			return matching(fmt.Sprintf(`^[\d:.]+  %s  exit +%d .* status 7`, host, pid))
		})
	}

	before, shown := len(p.all()), len(lines.all())
	second.end(syscall.SIGKILL)
	p.expectFrom(before, "the end of two", matching(`"host":"two".*"change":"gone"`))
	lines.expectFrom(shown, "the end of two", matching(`two  is gone$`))
	before = len(p.all())
	two.broker(serve...).expect(`joined site main as host two`)
	p.expectFrom(before, "two again", matching(`"host":"two".*"change":"here"`))
	p.expectFrom(before, "what is missing", matching(`"host":"two".*"event":"lost","count":0,"exact":false`))
	for _, host := range []string{"one", "two"} {
		p.tells(host, "true", func(pid int) func(string) []string { return hostEvent(host, "exec", pid) })
	}
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
