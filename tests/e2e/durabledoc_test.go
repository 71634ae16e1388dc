//go:build linux

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDurableDoc: what docs/hosts.md shows of durable groups.
func TestDurableDoc(t *testing.T) {
	b, err := os.ReadFile("../../docs/hosts.md")
	require.NoError(t, err)
	policy := regexp.MustCompile("(?s)```toml\n(.*?)```").FindStringSubmatch(string(b))
	shown := regexp.MustCompile("(?s)<!-- durable -->\n```console\n(.*?)```").FindStringSubmatch(string(b))
	require.NotNil(t, policy)
	require.NotNil(t, shown)
	hosts := map[string]*site{"one": newSite(t), "two": newSite(t)}
	for _, s := range hosts {
		s.file("durable.toml", policy[1])
	}
	var last []string
	text := strings.ReplaceAll(shown[1], "10.0.0.1:4222", freeAddr(t))
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		host, cmd, isCommand := strings.Cut(line, "$")
		if cmd = strings.TrimSpace(cmd); !isCommand {
			require.NotEmpty(t, last, line)
			assert.Equal(t, words(line), words(last[0]))
			last = last[1:]
			continue
		}
		assert.Empty(t, last, "more than is shown")
		cmd = strings.ReplaceAll(cmd, "durable.toml", hosts[host].dir+"/durable.toml")
		p := hosts[host].start("sh", "-c", "exec "+cmd+" 2>&1") // one stream has an order
		if strings.HasPrefix(cmd, "cnbus serve") {
			p.expect(`joined site main as host ` + host)
			continue
		}
		require.Zero(t, p.exit(), "%s: %v", cmd, p.all())
		last = p.all()
	}
	assert.Empty(t, last, "more than is shown")
}

// words are those of a line, without the time, the user and the process.
func words(line string) []string {
	line = regexp.MustCompile(`^[\d:.]+ `).ReplaceAllString(line, "T ")
	return strings.Fields(regexp.MustCompile(`\S+ pid \d+`).ReplaceAllString(line, "P"))
}
