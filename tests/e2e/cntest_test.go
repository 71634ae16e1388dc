//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

// without is a site in which no broker is to be found.
func without(t *testing.T) *site {
	s := newSite(t)
	s.env = append(s.env, "CNBUS_SOCKET=", "XDG_RUNTIME_DIR="+s.dir, "TMPDIR="+s.dir)
	return s
}

// last decodes the last line of the output.
func last(t *testing.T, out string, v any) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), v), out)
}

// Without a broker and without arguments it plays cn_test and ucon.
func TestCnTestNeedsNothing(t *testing.T) {
	if _, err := os.Stat("/run/cnbus/cnbus.sock"); err == nil {
		testenv.Skip(t, "the host has a broker, which would be found")
	}
	s := without(t)
	r := s.run("cn-test", "-n", "3", "--interval", "1ms")
	require.Zero(t, r.code, r.err)
	golden(t, "cn-test", r.out)
	assert.Contains(t, r.err, "on a broker within this process")
	left, err := filepath.Glob(s.dir + "/*")
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left behind")
}

func TestCnTestOnEveryCarrier(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	type counts struct{ Registered, Messages, Callbacks, Removed, Lost, Other int }
	for _, bus := range []string{"", "unix:" + s.socket(), "loopback:"} {
		r := s.run("cn-test", "--bus", bus, "-n", "4", "--interval", "1ms", "--json")
		require.Zero(t, r.code, "%s: %s", bus, r.err)
		var sum struct {
			Event     string
			OK        bool
			Got, Want counts
		}
		last(t, r.out, &sum)
		assert.Equal(t, "summary", sum.Event)
		assert.True(t, sum.OK)
		assert.Equal(t, counts{Registered: 2, Messages: 4, Callbacks: 2, Removed: 2}, sum.Got, bus)
	}
	assert.Equal(t, 2, s.run("cn-test", "--bus", "pigeon:").code)
	assert.Equal(t, 1, s.run("cn-test", "--bus", "unix:"+s.dir+"/none").code)
}

// On real netlink, as root of a private namespace. There is no registry, so no notification.
func TestCnTestOnNetlink(t *testing.T) {
	s := without(t)
	private := func(args ...string) result {
		c := s.command("cn-test", append(args, "--bus", "netlink:", "--json")...)
		c.SysProcAttr = &syscall.SysProcAttr{
			Setpgid:     true,
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		return s.runCmd(c)
	}
	r := private("-n", "3", "--interval", "1ms")
	require.Zero(t, r.code, "%s%s", r.out, r.err)
	assert.Contains(t, r.out, `"got":{"registered":0,"messages":3,"callbacks":2,"removed":0,"lost":0,"other":0}`)
	r = private("ping", "14:1", "-n", "10")
	assert.NotZero(t, r.code, "nobody is there")
	r = private("notify")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "has no registry")
	r = private("soak", "--duration", "500ms")
	require.Zero(t, r.code, "%s%s", r.out, r.err)
	var sum struct {
		OK   bool
		Sent uint64
	}
	last(t, r.out, &sum)
	assert.True(t, sum.OK)
	assert.Positive(t, sum.Sent)
}

// An id that somebody has is no success.
func TestCnTestFails(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	s.start("cnbus", "listen", "--id", "0x123:0x457").expect(`registered`)
	r := s.run("cn-test", "-n", "1")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "add callback 291:1111: id is already registered")
}

// The 2005 notifications, asked for by one program and caused by another.
func TestCnTestNotify(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	n := s.start("cn-test", "notify", "--json", "-n", "2")
	n.expect(`^asked on`)
	outside := s.start("cnbus", "listen", "--id", "0x123:0x500") // no val range has it
	outside.expect(`registered`)
	a := s.start("cnbus", "listen", "--id", "0x12c:0x456")
	n.expect(`"event":"registered".*"id":"300:1110".*"ack":0,"len":0`)
	a.end(syscall.SIGTERM)
	n.expect(`"event":"removed".*"id":"300:1110".*"ack":1,"len":0`)
	assert.Zero(t, n.exit())
	assert.Len(t, n.all(), 3)
}

func TestCnTestSendAndRecv(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	r := s.start("cn-test", "recv", "0x123:0x456", "-n", "2")
	r.expect(`^listening on`)
	sent := s.run("cn-test", "send", "0x123:0x456", "--group", "291", "-n", "2")
	require.Zero(t, sent.code, sent.err)
	assert.Zero(t, r.exit())
	golden(t, "recv", strings.Join(r.all()[1:], "\n"))
}

func TestCnTestPing(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	r := s.run("cn-test", "ping", "-n", "500", "--timeout", "1m", "--json")
	require.Zero(t, r.code, r.err)
	var sum struct {
		Sent, Answered                         int
		Min_ns, P50_ns, P90_ns, P99_ns, Max_ns int64 //nolint:revive,staticcheck // the names of the JSON
	}
	last(t, r.out, &sum)
	assert.Equal(t, 500, sum.Answered)
	assert.Positive(t, sum.Min_ns)
	assert.LessOrEqual(t, sum.Min_ns, sum.P50_ns)
	assert.LessOrEqual(t, sum.P50_ns, sum.P90_ns)
	assert.LessOrEqual(t, sum.P90_ns, sum.P99_ns)
	assert.LessOrEqual(t, sum.P99_ns, sum.Max_ns)

	mute := s.start("cnbus", "listen", "--id", "7:1")
	mute.expect(`registered`)
	r = s.run("cn-test", "ping", "7:1", "--timeout", "50ms")
	assert.Equal(t, 3, r.code)
	assert.Contains(t, r.err, "call 1: ")
}

// Every message is accounted for, on each carrier, with receivers that are too slow and without.
func TestCnTestSoakAndFloodAccount(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--queue", "256k")
	for _, args := range [][]string{
		{"soak", "--duration", "1s", "--senders", "2", "--receivers", "3", "--size", "8000", "--slow", "1"}, // few of which are more than the queue takes
		{"soak", "--duration", "500ms", "--bus", "loopback:"},
		{"flood", "-n", "30000", "--receivers", "3"},
		{"flood", "-n", "20000", "--wait", "--receivers", "2"},
	} {
		r := s.run("cn-test", append(args, "--json")...)
		require.Zero(t, r.code, "%v: %s%s", args, r.out, r.err)
		var sum struct {
			Sent, Delivered, Messages uint64
			ReportedLost              uint64 `json:"reported_lost"`
			OK                        bool
			Receivers                 []struct{ Delivered uint64 }
		}
		last(t, r.out, &sum)
		assert.True(t, sum.OK, "%v", args)
		assert.Equal(t, sum.Sent, sum.Delivered+sum.ReportedLost, "%v", args)
		assert.Equal(t, sum.Sent, sum.Messages*uint64(len(sum.Receivers)), "%v", args)
		switch args[0] + args[len(args)-1] {
		case "soak1":
			assert.Positive(t, sum.ReportedLost, "the slow one loses: otherwise nothing is tested")
		case "flood2":
			assert.Zero(t, sum.ReportedLost, "--wait loses nothing")
		}
	}
}

// Between two brokers of a site: groups, messages to a port and calls, and every one is accounted for.
func TestCnTestSoakOfASite(t *testing.T) {
	one, two, alone := newSite(t), newSite(t), newSite(t)
	nats := freeAddr(t)
	one.broker("--no-proc", "--join", "embedded", "--embedded-listen", nats, "--host", "one").expect(`joined site`)
	two.broker("--no-proc", "--join", "nats://"+nats, "--host", "two").expect(`joined site`)
	alone.broker("--no-proc")
	for _, args := range [][]string{
		{"soak", "--duration", "1s", "--peer", two.socket()},
		{"soak", "--duration", "500ms", "--bus", "site:", "--senders", "1", "--receivers", "3"},
		{"flood", "-n", "2000", "--wait", "--slow", "1", "--peer", two.socket()},
	} {
		r := one.run("cn-test", append(args, "--json")...)
		require.Zero(t, r.code, "%v: %s%s", args, r.out, r.err)
		type account struct {
			Kind, From, To  string
			Sent, Delivered uint64
			ReportedLost    uint64 `json:"reported_lost"`
			OK              bool
		}
		var sum struct {
			account
			Messages         uint64
			Receivers, Paths []account
		}
		last(t, r.out, &sum)
		assert.True(t, sum.OK, "%v", args)
		assert.Equal(t, sum.Sent, sum.Delivered+sum.ReportedLost, "%v", args)
		assert.Equal(t, sum.Sent, sum.Messages*uint64(len(sum.Receivers)), "%v", args)
		if args[0] == "flood" {
			assert.Zero(t, sum.ReportedLost, "--wait loses nothing, wherever the receiver is")
		}
		for _, r := range sum.Receivers {
			assert.Positive(t, r.Delivered, "%v: a receiver got nothing: %+v", args, sum)
		}
		require.Len(t, sum.Paths, 4, "%v", args)
		for i, p := range sum.Paths {
			assert.Equal(t, []string{"unicast", "calls"}[i%2], p.Kind)
			assert.NotEqual(t, p.From, p.To)
			assert.True(t, p.OK, "%+v", p)
			assert.Positive(t, p.Sent, "%+v", p)
			assert.Equal(t, p.Sent, p.Delivered, "the site is whole: %+v", p)
		}
	}
	r := one.run("cn-test", "soak", "--duration", "1s", "--peer", one.socket())
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.err, "are one host")
	r = one.run("cn-test", "soak", "--duration", "1s", "--peer", alone.socket())
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "has not joined others")
	assert.Zero(t, one.run("cn-test", "-n", "2", "--interval", "1ms", "--bus", "site:").code)
}

// An interrupt ends the sending, not the account.
func TestCnTestSoakInterrupted(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	p := s.start("cn-test", "soak", "--duration", "1h", "--json")
	p.expect(`"event":"progress"`)
	assert.Equal(t, 130, p.end(syscall.SIGINT))
	p.expect(`"event":"summary".*"ok":true`)
}

// timeout(1) signals the process and its group: that is one wish to end it, not two. It does so also when it is signalled itself.
func TestCnTestUnderTimeout(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	p := s.start("timeout", "-s", "INT", "--preserve-status", "1h", "cn-test", "soak", "--duration", "1h", "--json")
	p.expect(`"event":"progress"`)
	assert.Equal(t, 130, p.end(syscall.SIGINT))
	p.expect(`"event":"summary"`)
}

// Against the real kernel.
func TestCnTestProc(t *testing.T) {
	s := withEvents(t)
	r := s.run("cn-test", "proc", "-n", "100", "--json")
	require.Zero(t, r.code, "%s%s", r.out, r.err)
	var sum struct {
		Expected, Arrived int
		OK                bool
	}
	last(t, r.out, &sum)
	assert.Equal(t, 300, sum.Expected)
	assert.True(t, sum.OK)
}
