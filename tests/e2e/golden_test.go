//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What differs from run to run, and what stands for it. Alignment goes with it.
var normal = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`/\S*/cnbus-site-\d+`), "DIR"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`), "TIME"},
	{regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}`), "CTIME"},
	{regexp.MustCompile(`"(time|since)":"[^"]*"`), `"$1":"TIME"`},
	{regexp.MustCompile(`"(pid|port|uid|gid|seq|ack|to_port|instance)":\d+`), `"$1":N`},
	{regexp.MustCompile(`\b(pid|port|seq|ack|uid|gid) \d+`), "$1 N"},
	{regexp.MustCompile(`\b\d+ (clients|accepted)\b`), "N $1"},
	{regexp.MustCompile(`\b(nobody|user nobody) pid`), "USER pid"},
	{regexp.MustCompile(`[\d.]+(µs|ms)\b`), "DURATION"},
}

func normalise(text string) string {
	for _, n := range normal {
		text = n.re.ReplaceAllString(text, n.to)
	}
	me := userName()
	text = regexp.MustCompile(`\b`+regexp.QuoteMeta(me)+`\b`).ReplaceAllString(text, "USER")
	text = regexp.MustCompile(`\b\d+( +USER)`).ReplaceAllString(text, "N$1")
	var out []string
	for line := range strings.Lines(text) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		out = append(out, indent+strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n") + "\n"
}

// golden compares text, normalised, with testdata/NAME.golden.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got := normalise(text)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run: go test ./tests/e2e -update")
	assert.Equal(t, string(want), got, path)
}
