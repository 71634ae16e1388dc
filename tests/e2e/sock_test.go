//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sockSum is the end of `cn-test sock --json`.
type sockSum struct {
	Event string
	OK    bool
	Kinds []struct {
		Kind                         string
		Sent, Echoed, Wrong, Missing uint64
	}
}

// Streams and datagrams of two processes' worth of clients go through the agent, and every byte comes back.
func TestCnTestSock(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	for _, bus := range []string{"", "unix:" + s.socket(), "loopback:"} {
		r := s.run("cn-test", "sock", "--bus", bus, "--streams", "3", "--bytes", "300001", "--datagrams", "300", "--size", "999", "--json")
		require.Zero(t, r.code, "%s: %s", bus, r.err)
		var sum sockSum
		last(t, r.out, &sum)
		assert.True(t, sum.OK)
		require.Len(t, sum.Kinds, 2)
		for i, want := range []struct {
			kind string
			n    uint64
		}{{"tcp", 3 * 300001}, {"udp", 300}} {
			k := sum.Kinds[i]
			assert.Equal(t, want.kind, k.Kind)
			assert.Equal(t, want.n, k.Sent)
			assert.Equal(t, want.n, k.Echoed)
			assert.Zero(t, k.Wrong+k.Missing)
		}
	}
	assert.Empty(t, s.ok("sock", "ls"), "nothing is left of them")
	assert.Regexp(t, `sockets +0 of no clients, \d+ opened, .*[1-9].* in, .* out`, s.ok("stat"))
	r := s.run("cn-test", "sock", "--bytes", "1000", "--datagrams", "3")
	require.Zero(t, r.code, r.err)
	golden(t, "cn-test-sock", trimRates(r.out))
	assert.Equal(t, 2, s.run("cn-test", "sock", "--size", "3").code)
	assert.Equal(t, 1, s.run("cn-test", "sock", "--bus", "netlink:").code)
}

// Datagrams do not wait for each other's outcome, which would be one for each way to the agent and back.
func TestCnTestSockPostsDatagrams(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	m := s.start("cnbus", "monitor")
	m.expect(`watching`)
	r := s.run("cn-test", "sock", "--streams", "0", "--datagrams", "40")
	require.Zero(t, r.code, r.err)
	m.expect(`sendto sock \d+ posted`)
	assert.Equal(t, 130, m.end(syscall.SIGINT))
	assert.NotContains(t, strings.Join(m.all(), "\n"), "sendto done")
	assert.NotRegexp(t, `sendto sock \d+ [^p]`, strings.Join(m.all(), "\n"))
}

// trimRates leaves out what differs from run to run.
func trimRates(out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); strings.HasSuffix(line, "/s\n") && len(f) > 3 {
			line = strings.Join(f[:len(f)-2], " ") + " RATE\n"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}

// A broker that is killed under the sockets' feet: a clear word and exit code 3.
func TestCnTestSockWhenTheBrokerIsKilled(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc")
	p := s.start("cn-test", "sock", "--streams", "2", "--bytes", "100000000000", "--datagrams", "0")
	p.expect(`2 connections of`)
	s.until("sock", func(rows []map[string]any) bool {
		for _, r := range rows {
			if r["bytes_in"].(float64) > 100000 {
				return true
			}
		}
		return false
	}, "sock", "ls")
	assert.Equal(t, -1, b.end(syscall.SIGKILL))
	assert.Equal(t, 3, p.exit())
	p.expect(`^cn-test: the broker, or its tsocket agent, went away: connection \d`)
	p.expect(`something did not come back`)
}

// until asks again and again for what a command prints as JSON until it is as wanted.
func (s *site) until(what string, ok func(rows []map[string]any) bool, args ...string) {
	s.t.Helper()
	for deadline := s.deadline(); ; {
		var rows []map[string]any
		dec := json.NewDecoder(strings.NewReader(s.ok(append(args, "--json")...)))
		for dec.More() {
			var row map[string]any
			require.NoError(s.t, dec.Decode(&row))
			rows = append(rows, row)
		}
		if ok(rows) {
			return
		}
		select {
		case <-deadline:
			require.Fail(s.t, "it never came to that", "%s: %v", what, rows)
		default:
		}
	}
}

const sockPolicyText = `
[[rule]]
name         = "clients"
uid          = ["self"]
register     = ["tsocket", "rxrpc"]
send         = ["*"]
sock_connect = ["tcp 127.0.0.1"]
sock_bind    = ["tcp 127.0.0.1:1024-65535"]
`

// What the policy does not allow is refused with the rule's name, logged and counted; a reload counts at once.
func TestSockPolicy(t *testing.T) {
	s := newSite(t)
	policy := s.file("policy.toml", sockPolicyText)
	b := s.broker("--no-proc", "--policy", policy)
	r := s.run("cn-test", "sock", "--bytes", "1000", "--datagrams", "0")
	require.Zero(t, r.code, r.err)
	r = s.run("cn-test", "sock", "--streams", "0", "--datagrams", "1")
	assert.Equal(t, 1, r.code)
	assert.Regexp(t, `sock_bind udp 127\.0\.0\.1:0: no sock_bind of rule clients allows it to uid \d+`, r.err)
	b.expect(`denied by policy.*no sock_bind of rule clients`)
	assert.Regexp(t, `denied +1: sock_bind of the policy`, s.ok("stat"))
	assert.Contains(t, s.ok("stat", "--json"), `"denied":{"sock_bind":1}`)

	s.file("policy.toml", strings.ReplaceAll(sockPolicyText, `"tcp 127`, `"udp 127`))
	b.signal(syscall.SIGHUP)
	b.expect(`policy reloaded`)
	r = s.run("cn-test", "sock", "--streams", "0", "--datagrams", "10")
	require.Zero(t, r.code, r.err)
	r = s.run("cn-test", "sock", "--streams", "1", "--datagrams", "0")
	assert.Equal(t, 1, r.code)

	// Without the right to register it there is no agent, and it is said why.
	s.file("none.toml", strings.ReplaceAll(sockPolicyText, `"tsocket", `, ""))
	other := s.start("cnbus", "serve", "--no-proc", "--socket", s.dir+"/other.sock", "--policy", s.dir+"/none.toml")
	other.expect(`sockets: no \(the policy does not let the broker itself, uid "self", register it\)`)
	r = s.run("cnbus", "sock", "ls", "--socket", s.dir+"/other.sock")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "the broker has no tsocket agent")
}

// A socket as the table and the JSON show it.
func TestSockLs(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--no-rx")
	assert.Equal(t, "no sockets\n", s.run("cnbus", "sock", "ls").err)
	p := s.start("cn-test", "sock", "--streams", "1", "--bytes", "100000000000", "--datagrams", "0")
	s.until("a connection", func(rows []map[string]any) bool {
		n := 0
		for _, r := range rows {
			if r["state"] == "connected" {
				n++
			}
		}
		return n == 2
	}, "sock", "ls")
	out := s.ok("sock", "ls")
	assert.Regexp(t, `(?m)^SOCK +KIND +STATE +LOCAL +REMOTE +IN +OUT +QUEUED +WINDOW +USER +PID +PORT$`, out)
	assert.Regexp(t, `(?m)^ *\d+ +tcp +listening +127\.0\.0\.1:\d+ +- .* \d+ +\w+ +`+jsonNumber(uint64(p.cmd.Process.Pid))+` +\d+$`, out)
	assert.Regexp(t, `(?m)^ *\d+ +tcp +connected +127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ `, out)
	w := s.start("cnbus", "sock", "ls", "--watch", "10ms")
	for range 3 {
		w.expect(`^SOCK +KIND`)
	}
	assert.Equal(t, 130, w.end(syscall.SIGINT))
	assert.Equal(t, 2, s.run("cnbus", "sock", "ls", "--watch", "-1s").code)
	p.end(syscall.SIGKILL)
	s.until("they go with their owner", func(rows []map[string]any) bool { return len(rows) == 0 }, "sock", "ls")
}

const limitsPolicyText = `
[[rule]]
uid   = ["self"]
admin = true

[[limit]]
sockets    = %d
rx_sockets = %[1]d
rx_calls   = 2
`

// How much the agents hold for a user is said by the policy's limits; who reaches one is told, logged and counted, and a reload counts at once.
func TestLimitsOfTheAgents(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc", "--policy", s.file("policy.toml", fmt.Sprintf(limitsPolicyText, 1)))
	r := s.run("cn-test", "sock", "--streams", "1", "--bytes", "10", "--datagrams", "0")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "has 1 sockets, which is the limit")
	b.expect(`limit.*has reached its limit of 1 sockets`)
	r = s.run("cn-test", "rx", "-n", "1", "--bulk", "0")
	assert.Equal(t, 1, r.code)
	b.expect(`limit.*has reached its limit of 1 rx_sockets`)

	s.file("policy.toml", fmt.Sprintf(limitsPolicyText, 100))
	b.signal(syscall.SIGHUP)
	b.expect(`policy reloaded`)
	r = s.run("cn-test", "sock", "--streams", "1", "--bytes", "10", "--datagrams", "0")
	require.Zero(t, r.code, r.err)
	l, at := s.echo("7")
	l.signal(syscall.SIGSTOP)
	s.start("cnbus", "rx", "call", at, "7", "x", "--timeout", "0")
	s.until("both sides", func(rows []map[string]any) bool { return len(rows) == 2 }, "rx", "calls")
	r = s.run("cnbus", "rx", "call", at, "7", "x")
	assert.Equal(t, 1, r.code)
	assert.Regexp(t, `^cnbus: .*: user \d+ has 2 calls, which is the limit: no buffer space available\n$`, r.err)
	b.expect(`limit.*has reached its limit of 2 rx_calls`)
	assert.Regexp(t, `(?m)^limit +user \S+ reached the limit of rx_calls \d+ times?\nlimit +user \S+ reached the limit of rx_sockets \d+ times?\nlimit +user \S+ reached the limit of sockets \d+ times?$`, s.ok("stat"))
	assert.Regexp(t, `(?m)^ +RxRPC calls +2$`, s.ok("policy", "show"))
}
