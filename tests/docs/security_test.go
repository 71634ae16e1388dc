package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSecurityNamesTestsThatExist: each claim of the threat model is shown by a test.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	defined := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, dir := range []string{"../../rxrpc", "../interop"} {
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range function.FindAllSubmatch(b, -1) {
				defined[string(m[1])] = true
			}
			return err
		}))
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1)
	assert.Greater(t, len(named), 40)
	for _, name := range named {
		assert.True(t, defined[name], "docs/security.md names %s, which is no test", name)
	}
	for _, line := range strings.Split(string(page), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 4 && strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| cannot") {
			assert.Regexp(t, `(Test|Fuzz)`, cells[2], line)
		}
	}
}
