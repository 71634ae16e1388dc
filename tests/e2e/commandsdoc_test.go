//go:build linux

package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keys collects the field names of a JSON value.
func keys(v any, to map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, val := range v {
			to[k] = true
			keys(val, to)
		}
	case []any:
		for _, val := range v {
			keys(val, to)
		}
	}
}

// docs/commands.md names every command, and every field that scripts see.
func TestCommandsDoc(t *testing.T) {
	b, err := os.ReadFile("../../docs/commands.md")
	require.NoError(t, err)
	doc := string(b)

	_, on, _ := strings.Cut(doc, "`--on HOST`")
	on, _, _ = strings.Cut(on, "\n\n")
	s := newSite(t)
	for _, path := range append(commandsOf(s, "cnbus"), commandsOf(s, "cn-test")...) {
		if name := strings.Join(path, " "); name != "cnbus" && name != "cnbus policy" && name != "cnbus rx" && name != "cnbus rx key" && name != "cnbus sock" {
			assert.Contains(t, doc, "`"+name+"`")
		}
		if r := s.run(path[0], append(path[1:], "--help")...); path[0] == "cnbus" && len(path) < 4 && strings.Contains(r.out, "--on host ") {
			assert.Contains(t, on, "`"+strings.Join(path, " ")+"`", "has --on")
		}
	}

	s.broker("--join", "embedded", "--host", "one").expect(`joined site`)
	a := s.start("cnbus", "listen", "--id", "0x123:0x456", "--keep", "3", "--reply", "x")
	a.expect(`registered`)
	s.run("cnbus", "send", "0x123:0x456", "--group", "291", "kept")
	mon := s.start("cnbus", "monitor", "--json", "-n", "2")
	mon.expect(`watching`)
	outputs := []string{
		s.ok("call", "0x123:0x456", "--json"),
		s.ok("ls", "--json", "--rate", "1ms"),
		s.ok("watch", "--json", "-n", "1"),
		s.ok("listen", "291", "--json", "--history", "-n", "1"),
		s.ok("policy", "show", "--json"),
		s.ok("hosts", "--json"),
		s.ok("version", "--json"),
		s.run("cnbus", "doctor", "--json").out,
		s.ok("rx", "debug", replay(t), "--json", "--allconnections", "--peers", "--rxstats"),
		s.klogs(kdc(t), klogPassword, "--password", "joe", "--cell", "klog.test", "--file", "key", "--json").out,
		s.run("cn-test", "--json", "-n", "1", "--interval", "1ms", "--id", "0x200:1").out,
		s.run("cn-test", "ping", "--json", "-n", "1").out,
		s.run("cn-test", "flood", "--json", "-n", "10").out,
		s.run("cn-test", "proc", "--json", "-n", "1").out,
	}
	l := s.start("cnbus", "rx", "listen", "127.0.0.1:0", "1234", "--json")
	at := l.expect(`at (127\S+)$`)[1]
	outputs = append(outputs,
		s.ok("rx", "call", at, "1234", "x", "--json"),
		s.run("cnbus", "rx", "call", at, "1235", "x", "--json").out,
		s.ok("rx", "conns", "--json"),
		s.key("0123456789abcdef", "add", "rxrpc_s", "52:2", "--hex", "--timeout", "1h", "--json").out,
		s.ok("rx", "key", "ls", "--json"),
		s.ok("rx", "peers", "--json"),
		s.run("cn-test", "rx", "--json", "-n", "1", "--bulk", "1").out,
		s.run("cn-test", "sock", "--json", "--datagrams", "1", "--bytes", "1").out,
	)
	outputs = append(outputs, l.expect(`"event":"call"`)[0])
	mon.exit()
	outputs = append(outputs, strings.Join(mon.all()[1:], "\n"))
	seen := make(map[string]bool)
	for _, out := range outputs {
		require.NotEmpty(t, out)
		for line := range strings.Lines(out) {
			var v any
			require.NoError(t, json.Unmarshal([]byte(line), &v), line)
			keys(v, seen)
		}
	}
	require.Greater(t, len(seen), 40)
	for k := range seen {
		assert.Contains(t, doc, "`"+k+"`")
	}
}
