// Package docs holds the documents against the programs: the code that they
// show is the code that is there.
package docs

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the files into the documents")

// shown is a fenced block behind a comment that names the file it shows.
var shown = regexp.MustCompile("(?s)<!-- file: ([^ ]+) -->\n```[a-z]*\n(.*?)```\n")

func TestDocumentsShowTheFilesThatTheyName(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	require.NoError(t, err)
	pages = append(pages, filepath.Join(root, "README.md"))
	blocks := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		fresh := shown.ReplaceAllStringFunc(string(text), func(block string) string {
			blocks++
			m := shown.FindStringSubmatch(block)
			file, err := os.ReadFile(filepath.Join(root, m[1]))
			require.NoError(t, err, "%s", page)
			if !*update {
				assert.Equal(t, string(file), m[2], "%s shows an old %s: go test ./tests/docs -update", page, m[1])
			}
			return strings.Replace(block, m[2]+"```\n", string(file)+"```\n", 1)
		})
		if *update && fresh != string(text) {
			require.NoError(t, os.WriteFile(page, []byte(fresh), 0o644))
		}
	}
	require.Positive(t, blocks)
}
