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

// The commands of docs/agents.md work, one after the other.
func TestAgentsDoc(t *testing.T) {
	b, err := os.ReadFile("../../docs/agents.md")
	require.NoError(t, err)
	_, block, ok := strings.Cut(string(b), "```console\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "```")
	s := newSite(t)
	port, n := "127.0.0.1:0", 0
	for line := range strings.Lines(block) {
		line, isCommand := strings.CutPrefix(line, "$ ")
		require.True(t, isCommand, line)
		line, _, _ = strings.Cut(strings.TrimSpace(line), "  #")
		line = strings.ReplaceAll(strings.TrimSpace(line), "127.0.0.1:7009", port)
		n++
		if server, ok := strings.CutSuffix(line, "&"); ok {
			p := s.start("sh", "-c", "exec "+server)
			ready := p.expect(`^serving (.*)$`)
			if m := regexp.MustCompile(` at (\S+)$`).FindStringSubmatch(ready[1]); m != nil {
				port = m[1]
			}
			continue
		}
		var behind *program
		if first, then, ok := strings.Cut(line, " & "); ok {
			behind = s.start("sh", "-c", "exec "+first)
			behind.expect(`^watching`) // a person is slower than it; a script is not
			line = then
		}
		r := s.run("sh", "-c", line)
		assert.Zero(t, r.code, "%s: %s%s", line, r.out, r.err)
		if behind != nil {
			assert.Zero(t, behind.exit())
		}
		assert.True(t, r.out != "" || strings.HasSuffix(line, "sock ls"), line)
	}
	assert.Greater(t, n, 8)
}
