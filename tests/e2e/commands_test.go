//go:build linux

package e2e

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An agent by hand, seen by every command.
func TestCommandsOutput(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--no-sock", "--no-rx")
	watch := s.start("cnbus", "watch", "0x100-0x1ff:*")
	watch.expect(`no ids registered; now watching`)
	mon := s.start("cnbus", "monitor")
	mon.expect(`watching what passes`)
	monJSON := s.start("cnbus", "monitor", "--json", "0x123:0x456")
	monJSON.expect(`watching what passes`)
	group := s.start("cnbus", "listen", "291", "--json")
	group.expect(`listening to group 291`)
	agent := s.start("cnbus", "listen", "--id", "0x123:0x456", "--name", "cn_test", "--reply", "pong")
	agent.expect(`registered 291:1110 as "cn_test", waiting for messages`)

	assert.Equal(t, "pong\n", s.ok("call", "0x123:0x456", "hello"))
	assert.Equal(t, "pong", s.ok("call", "0x123:0x456", "--raw"))
	golden(t, "call-json", s.ok("call", "0x123:0x456", "--json", "--hex", "de:ad be ef"))
	assert.Empty(t, s.ok("send", "0x123:0x456", "hi"))
	assert.Empty(t, s.ok("send", "0x123:0x456", "--group", "291", "to all"))
	agent.expect(`"hi"`)
	group.expect(`"text":"to all"`)
	mon.expect(`"to all"`)
	monJSON.expect(`"text":"to all"`)

	golden(t, "ls", s.ok("ls"))
	golden(t, "ls-json", s.ok("ls", "--json"))
	golden(t, "stat", s.ok("stat"))
	assert.Empty(t, s.ok("ls", "5:*"))

	agent.end(syscall.SIGTERM)
	watch.expect(`removed`)
	for _, p := range []*program{watch, mon, monJSON, group} {
		assert.Equal(t, 130, p.end(syscall.SIGINT))
	}
	golden(t, "watch", strings.Join(watch.all(), "\n"))
	golden(t, "monitor", strings.Join(mon.all(), "\n"))
	golden(t, "monitor-json", strings.Join(monJSON.all(), "\n"))
	golden(t, "listen-json", strings.Join(group.all(), "\n"))
	golden(t, "agent", strings.Join(agent.all(), "\n"))
}

func TestExitCodes(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	mute := s.start("cnbus", "listen", "--id", "7:1") // answers nobody
	mute.expect(`registered`)
	for _, c := range []struct {
		code int
		err  string
		args []string
	}{
		{0, "", []string{"ls"}},
		{0, "", []string{"version"}},
		{0, "", []string{"--help"}},
		{0, "", []string{"completion", "bash"}},
		{1, "cnbus: call 8:1: no such id\n", []string{"call", "8:1"}},
		{1, "cnbus: send 8:1 group 99: no listener in the group\n", []string{"send", "8:1", "--group", "99"}},
		{1, "cnbus: send 8:1 port 4000000000: no such port\n", []string{"send", "8:1", "--port", "4000000000"}},
		{1, "id is already registered", []string{"listen", "--id", "7:1"}},
		{2, `unknown command "lss" for "cnbus"`, []string{"lss"}},
		{2, "unknown flag: --frob\nTry 'cnbus ls --help'.\n", []string{"ls", "--frob"}},
		{2, `"7" is no id`, []string{"call", "7"}},
		{2, `is not hexadecimal`, []string{"send", "7:1", "--hex", "xyz"}},
		{2, `--log-level "loud"`, []string{"ls", "--log-level", "loud"}},
		{2, "exclude each other", []string{"ls", "-q", "-v"}},
		{2, "if any flags in the group [port group] are set none of the others can be", []string{"send", "7:1", "--port", "1", "--group", "1"}},
		{2, "a GROUP to join or --id is wanted", []string{"listen"}},
		{2, "no such kind", []string{"proc", "--event", "birth"}},
		{3, "cnbus: call 7:1: ", []string{"call", "7:1", "--timeout", "50ms"}},
	} {
		r := s.run("cnbus", c.args...)
		assert.Equal(t, c.code, r.code, "%v: %s", c.args, r.err)
		assert.Contains(t, r.err, c.err, "%v", c.args)
		if c.code != 0 {
			assert.Empty(t, r.out, "%v: stdout is for data", c.args)
		}
	}

	caller := s.start("cnbus", "call", "7:1", "--timeout", "0", "are you there?")
	mute.expect(`are you there`)
	mute.end(syscall.SIGKILL)
	assert.Equal(t, 3, caller.exit(), "the agent went away")
	caller.expect(`the agent went away before it replied`)
}

// The Tab key knows what is registered, and does not wait for a broker that is not there.
func TestCompletion(t *testing.T) {
	s := newSite(t)
	assert.Equal(t, ":4\n", s.ok("__complete", "call", ""))
	s.broker("--no-proc", "--no-sock", "--no-rx")
	s.start("cnbus", "listen", "--id", "7:1", "--name", "seven").expect(`registered`)
	listed := s.ok("__complete", "call", "")
	for deadline := s.deadline(); listed == ":4\n"; listed = s.ok("__complete", "call", "") { // it waits for half a second, which a slow broker may take
		select {
		case <-deadline:
			require.Fail(t, "the ids are never completed")
		default:
		}
	}
	assert.Equal(t, "7:1\tseven\n:4\n", listed)
	assert.Equal(t, ":4\n", s.ok("__complete", "call", "8"))
	assert.Contains(t, s.ok("__complete", "proc", "--event", "nonz"), "nonzero-exit\n")
	assert.Contains(t, s.ok("completion", "bash"), "cnbus")
}

// A flag names the broker before the environment does.
func TestSocketFlagWins(t *testing.T) {
	s := newSite(t)
	other := s.dir + "/other.sock"
	b := s.start("cnbus", "serve", "--no-proc", "--socket", other)
	b.expect(`^serving ` + other)
	s.ok("ls", "--socket", other)
	assert.Equal(t, 1, s.run("cnbus", "ls").code, "nobody is where the environment says")
}

// An agent in one line of shell: data on stdin, who asked in the environment.
func TestListenExec(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	a := s.start("cnbus", "listen", "--id", "7:1", "-n", "2", "--exec", `printf '%s %s ' "$CNBUS_ID" "$CNBUS_UID"; tr a-z A-Z`)
	a.expect(`registered`)
	var reply struct{ Text string }
	require.NoError(t, json.Unmarshal([]byte(s.ok("call", "--json", "7:1", "loud")), &reply))
	assert.Regexp(t, `^7:1 \d+ LOUD$`, reply.Text)
	s.ok("call", "7:1")
	assert.Zero(t, a.exit(), "--count")
}

// Lines of stdin are messages, and what a group has kept comes again.
func TestHistoryAndResume(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	a := s.start("cnbus", "listen", "--id", "300:1", "--keep", "100")
	a.expect(`registered`)
	c := s.command("cnbus", "send", "300:1", "--group", "300", "--lines")
	c.Stdin = strings.NewReader("one\ntwo\nthree\n")
	r := s.runCmd(c)
	require.Zero(t, r.code, r.err)

	var lines []struct {
		Text       string
		Pos, Epoch uint64
	}
	dec := json.NewDecoder(strings.NewReader(s.ok("listen", "300", "--history", "-n", "3", "--json")))
	for dec.More() {
		lines = append(lines, struct {
			Text       string
			Pos, Epoch uint64
		}{})
		require.NoError(t, dec.Decode(&lines[len(lines)-1]))
	}
	require.Len(t, lines, 3)
	assert.Equal(t, []string{"one", "two", "three"}, []string{lines[0].Text, lines[1].Text, lines[2].Text})

	after := jsonNumber(lines[0].Epoch) + ":" + jsonNumber(lines[0].Pos)
	out := s.ok("listen", "300", "--after", after, "-n", "2")
	assert.NotContains(t, out, `"one"`)
	assert.Regexp(t, `(?s)"two".*"three"`, out)
}

func jsonNumber(n uint64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// A receiver that does not read loses messages of a group, is told, and is named.
func TestStatNamesWhoLost(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--queue", "64k")
	slow := s.start("cnbus", "listen", "300", "--json")
	slow.expect(`listening`)
	slow.signal(syscall.SIGSTOP)
	c := s.command("cnbus", "send", "300:1", "--group", "300", "--lines")
	c.Stdin = strings.NewReader(strings.Repeat(strings.Repeat("x", 1000)+"\n", 2000))
	require.Zero(t, s.runCmd(c).code)
	out := s.ok("stat")
	assert.Regexp(t, `losses +\d+( \d+)* lost at full receivers`, out)
	assert.Regexp(t, `cnbus listen .* full.*lost some`, out)
	doctor := s.run("cnbus", "doctor")
	assert.Regexp(t, `warn  losses .*\(cnbus listen\): full`, doctor.out)
	slow.signal(syscall.SIGCONT)
	slow.expect(`"event":"lost",.*"group":300,"count":\d+`)
}
