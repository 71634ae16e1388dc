package layering

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the module's root, seen from this package.
const root = "../.."

// goFiles reads the imports of every Go file of the module, whatever system it
// is for. The compiler is not asked: it sees the files of one system only.
func goFiles(t *testing.T) []file {
	t.Helper()
	var files []file
	for _, name := range sourceNames(t) {
		if !strings.HasSuffix(name, ".go") || inTestdata(name) {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		require.NoError(t, err)
		f := file{name: name, pkg: filepath.ToSlash(filepath.Dir(name)), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range parsed.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			f.imports = append(f.imports, imp)
		}
		files = append(files, f)
	}
	return files
}

// sourceNames lists the files of the project: those that git tracks and that are
// there, or, where this is no git tree (an unpacked archive), all files.
func sourceNames(t *testing.T) []string {
	t.Helper()
	// The tree may belong to another user than the one who runs the tests.
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Logf("not a git tree, reading all files: %v", err)
		return walk(t)
	}
	var names []string
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names
}

// walk lists all files below the root but for what hidden directories other
// than .ci and bin hold.
func walk(t *testing.T) []string {
	t.Helper()
	var names []string
	require.NoError(t, fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(path, ".") && path != "." && path != ".ci"
		switch {
		case err != nil:
			return err
		case d.IsDir() && (hidden || path == "bin"):
			return fs.SkipDir
		case d.Type().IsRegular():
			names = append(names, path)
		}
		return nil
	}))
	return names
}

func inTestdata(name string) bool {
	return strings.Contains("/"+name, "/testdata/")
}

// isText tells text from captures, images and the like as git does: by NUL bytes.
func isText(b []byte) bool { return !bytes.Contains(b[:min(len(b), 8000)], []byte{0}) }
