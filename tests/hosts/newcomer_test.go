//go:build linux

package hosts

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNewcomer: docs/hosts.md followed to the letter, from "Without one" on: three machines with those addresses and names, and the
// servers within, a fourth that joins them, and what is done then.
func TestNewcomer(t *testing.T) {
	w := newWorld(t)
	text, err := os.ReadFile("../../docs/hosts.md")
	require.NoError(t, err)
	var lines []string
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "--embedded-cluster") || strings.Contains(block[1], "cnbus call") {
			lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
		}
	}
	require.Len(t, lines, 8)

	hosts := make(map[string]*host)
	joined := make(map[string]*program)
	var shown string // what the last command has printed, without what the page has of it
	for _, line := range lines {
		name, cmd, isCommand := strings.Cut(line, "$")
		if !isCommand {
			require.True(t, strings.HasPrefix(shown, line+"\n"), "the page has %q, it is %q", line, shown)
			shown = shown[len(line)+1:]
			continue
		}
		require.Empty(t, shown, "more than the page has")
		cmd = strings.TrimSpace(cmd)
		h := hosts[name]
		if h == nil {
			h = w.add()
			h.ns.within("ip", "addr", "add", fmt.Sprintf("10.0.0.%d/24", h.n), "dev", "eth0")
			hosts[name] = h
		}
		switch {
		case strings.HasPrefix(cmd, "cnbus serve"):
			joined[name] = h.run(fmt.Sprintf("unshare --uts sh -c 'hostname %s && exec %s'", name, cmd))
		case strings.HasPrefix(cmd, "cnbus listen"):
			for name, p := range joined {
				p.expect(`joined site main as host ` + name + `, number \d+`)
			}
			w.settled()
			h.registers(cmd)
		default:
			shown = h.must(cmd)
		}
	}
	require.Len(t, hosts, 4)
	assert.Regexp(t, `(?m)^ *\d+ +two +self `, shown)
	for _, name := range []string{"one", "three", "four"} {
		assert.Regexp(t, `(?m)^ *\d+ +`+name+` +reachable `, shown)
	}
	assert.Equal(t, "hello from one\n", hosts["four"].must("cnbus call 0x200:1 hello"), "the fourth, which has no server")

	// Any one of them may go: here the one that leads the store.
	ip(t, "addr", "add", "10.0.0.254/24", "dev", w.device("br"))
	joined[w.spread("nats://10.0.0.1:4222", 3)].kill()
	hosts["four"].registers("cnbus listen --id 0x200:2")
}
