package layering

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A houseRule is a pattern that no line of the files it applies to may match.
type houseRule struct {
	name    string
	applies func(name string) bool
	line    *regexp.Regexp
	except  *regexp.Regexp // a file that matches it is left alone
	excuse  *regexp.Regexp // so is a line below one that matches it
}

// The patterns are assembled or broken by brackets, so that they do not match
// this file.
var houseRules = []houseRule{
	{
		name:    "path of one machine: say it relative to the tree, or to a temporary directory",
		applies: notSums,
		line:    regexp.MustCompile(`(^|[^\w.*$}-])/(wor[k]|far[m]|hom[e]/\w+|roo[t]/(go|src|\.cache))/`),
	},
	{
		name:    "host of one site: the Go proxy, Debian's archive and public names only",
		applies: notSums,
		line:    regexp.MustCompile(`://[^/\s"']*\.(` + `internal|corp|lan|intranet)\b|GO(PROX` + `Y|SUMD` + `B)[:?]?=\s*"?https?:|--index-ur` + `l\b`),
	},
	{
		name:    "unfinished work: finish it, or open an issue",
		applies: notSums,
		line:    regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`),
	},
	{
		name:    "sleeping test: await a signal, or use testing/synctest",
		applies: isTestSource,
		line:    regexp.MustCompile(`\btime\.Slee` + `p\(`),
	},
	{
		name:    "skip that CI does not notice: call testenv.Skip, or say above the line // Not testenv.Skip: why",
		applies: func(name string) bool { return isTestSource(name) && !strings.HasPrefix(name, "internal/testenv/") },
		line:    regexp.MustCompile(`\b(t|tb|b|f)\.Ski` + `p(f|Now)?\(`),
		except:  regexp.MustCompile(`\*rapid\.T\b`), // there it rejects a drawn value
		excuse:  regexp.MustCompile(`// Not testenv\.Skip: \w+`),
	},
}

func notSums(name string) bool { return name != "go.sum" }

func isTestSource(name string) bool {
	return strings.HasSuffix(name, "_test.go") ||
		strings.HasSuffix(name, ".go") && matchesAny([]string{"connector/bustest/...", "tsocket/tstest/..."}, filepath.ToSlash(filepath.Dir(name)), "")
}

// complaints returns a line for each rule that a line of the file breaks.
func complaints(name, content string) []string {
	var out []string
	for _, r := range houseRules {
		if !r.applies(name) || r.except != nil && r.except.MatchString(content) {
			continue
		}
		n, above := 0, ""
		for line := range strings.Lines(content) {
			n++
			if r.line.MatchString(line) && (r.excuse == nil || !r.excuse.MatchString(above)) {
				out = append(out, fmt.Sprintf("%s:%d: %s: %s", name, n, r.name, strings.TrimSpace(line)))
			}
			above = line
		}
	}
	return out
}

// TestHouse holds every text file of the project against the rules of the house.
func TestHouse(t *testing.T) {
	seen := 0
	for _, name := range sourceNames(t) {
		b, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		if !isText(b) {
			continue
		}
		seen++
		for _, c := range complaints(name, string(b)) {
			t.Error(c)
		}
	}
	require.Greater(t, seen, 20, "the rules have looked at hardly anything")
}

// TestHouseRules shows that each rule finds what it is for, and nothing else.
func TestHouseRules(t *testing.T) {
	const sleep, skip = "time.Slee" + "p(1)", "t.Ski" + "p(\"x\")"
	for _, c := range []struct {
		name, line string
		bad        bool
	}{
		{"docs/x.md", "see /wor" + "k/main/x", true},
		{"Makefile", "X = /hom" + "e/me/go", true},
		{"x.go", `"/roo` + `t/go/pkg"`, true},
		{"x.go", `"tests/work/x"`, false},
		{"x.go", `"/run/cnbus/cnbus.sock"`, false},
		{"Makefile", "$(TMP)/wor" + "k/x", true},
		{"scripts/x.sh", "$work/x ${dir}/wor" + "k/x", false},
		{"go.mod", "// http://mirror.site.cor" + "p/x", true},
		{".ci/run", "GOPROX" + "Y=https://mirror.example.org", true},
		{"docs/x.md", "https://pkg.go.dev/internal", false},
		{"x.go", "// TO" + "DO: later", true},
		{"x.go", "context.TO" + "DO()", true},
		{"x.go", "mktemp cnbus.XXXXXX", false},
		{"go.sum", "h1:a/TO" + "DO/b=", false},
		{"x_test.go", sleep, true},
		{"x.go", sleep, false},
		{"connector/bustest/loss.go", sleep, true},
		{"x_test.go", skip, true},
		{"x_test.go", skip + " // in func(t *rapid.T)", false},
		{"x_test.go", "// Not testenv.Skip: it tests nothing.\n" + skip, false},
		{"x_test.go", "// Not testenv.Skip:\n" + skip, true},
		{"internal/testenv/testenv_test.go", skip, false},
		{"x_test.go", `testenv.Skip(t, "x")`, false},
	} {
		if got := complaints(c.name, c.line); c.bad {
			assert.Len(t, got, 1, "%s: %s", c.name, c.line)
		} else {
			assert.Empty(t, got, "%s: %s", c.name, c.line)
		}
	}
}

// TestLinks follows the relative links of the Markdown files.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s:]+)(#[^)]*)?\)`)
	for _, name := range sourceNames(t) {
		if !strings.HasSuffix(name, ".md") || inTestdata(name) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			_, err := os.Stat(filepath.Join(root, filepath.Dir(name), m[1]))
			assert.NoError(t, err, "link in %s", name)
		}
	}
}

// TestDependencies asks that the README says of each module that go.mod requires directly what it is for.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(readme), "## Dependencies")
	require.True(t, ok)
	n := 0
	for line := range strings.Lines(string(mod)) {
		m := regexp.MustCompile(`^\s+(\S+) v\S+$`).FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue // an indirect one, or none
		}
		n++
		assert.Regexp(t, `(^|[\s|])`+regexp.QuoteMeta(m[1])+`[\s,|]`, table)
	}
	require.Greater(t, n, 10, "hardly any")
}

// TestFuzzCorpora asks for inputs in the tree for each fuzz target: what it has found, or its seeds, is tried by every run of the tests.
func TestFuzzCorpora(t *testing.T) {
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	names, n := sourceNames(t), 0
	has := make(map[string]bool)
	for _, name := range names {
		has[filepath.ToSlash(filepath.Dir(name))] = true
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		for _, m := range target.FindAllStringSubmatch(string(b), -1) {
			n++
			assert.Contains(t, has, filepath.ToSlash(filepath.Dir(name))+"/testdata/fuzz/"+m[1], "no corpus of %s", name)
		}
	}
	require.Greater(t, n, 60, "hardly any")
}
