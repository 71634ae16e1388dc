package layering

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An exported is an exported identifier of a package, with a method's type before it: "Stats", "Level.String".
type exported struct{ pkg, name string }

// comments are what the files of packages say of exported identifiers: whether there is a doc comment, and where one was looked
// for. What one system's file says of a function holds for the others'.
type comments struct {
	said     map[exported]bool
	declared map[exported]string
}

func newComments() *comments {
	return &comments{said: map[exported]bool{}, declared: map[exported]string{}}
}

// read adds a file. As Go has it the comment of a group counts for all in it, and so does one at the end of a constant's line. Methods
// count where their type is exported; what an error's Error says is told by the type.
func (c *comments) read(name string, src []byte) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	pkg := path.Dir(filepath.ToSlash(name))
	add := func(id *ast.Ident, prefix string, said bool) {
		if id.IsExported() {
			k := exported{pkg, prefix + id.Name}
			c.said[k] = c.said[k] || said
			if c.declared[k] == "" {
				c.declared[k] = fset.Position(id.Pos()).String()
			}
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			switch on := receiver(d); {
			case d.Recv == nil:
				add(d.Name, "", d.Doc != nil)
			case ast.IsExported(on) && !isError(d):
				add(d.Name, on+".", d.Doc != nil)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					add(s.Name, "", d.Doc != nil || s.Doc != nil || s.Comment != nil)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add(id, "", d.Doc != nil || s.Doc != nil || s.Comment != nil)
					}
				}
			}
		}
	}
	return nil
}

// receiver is the name of a method's type, "" of a function's.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	for t := d.Recv.List[0].Type; ; {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func isError(d *ast.FuncDecl) bool {
	return d.Name.Name == "Error" && d.Type.Params.NumFields() == 0 && d.Type.Results.NumFields() == 1
}

// missing returns a line for each identifier without a comment.
func (c *comments) missing() []string {
	var out []string
	for k, said := range c.said {
		if !said {
			out = append(out, fmt.Sprintf("%s: %s has no doc comment", c.declared[k], k.name))
		}
	}
	slices.Sort(out)
	return out
}

// TestDocComments asks for a doc comment on each exported identifier of each package, whatever system it is for.
func TestDocComments(t *testing.T) {
	c := newComments()
	for _, name := range sourceNames(t) {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || inTestdata(name) {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		require.NoError(t, c.read(name, src))
	}
	for _, line := range c.missing() {
		t.Error(line)
	}
	for _, k := range []exported{{"cbid", "ID"}, {"cbid", "ID.String"}, {"connector", "ChangePresent"}, {"connector", "Watch"}} {
		require.Contains(t, c.said, k)
	}
	require.Greater(t, len(c.said), 2000, "hardly any")
}

// TestDocCommentsRule shows what counts as a doc comment.
func TestDocCommentsRule(t *testing.T) {
	for _, c := range []struct {
		name, src string
		bare      string // the identifier that has none
	}{
		{"function", "func F() {}", "F"},
		{"function with one", "// F does.\nfunc F() {}", ""},
		{"comment of something else", "// That was that.\n\nfunc F() {}", "F"},
		{"unexported", "func f() {}", ""},
		{"method", "type t int\n// T is.\ntype T t\nfunc (t *T) M() {}", "T.M"},
		{"method of a generic type", "// T is.\ntype T[K, V any] struct{}\nfunc (t *T[K, V]) M() {}", "T.M"},
		{"method of an unexported type", "type t int\nfunc (t) M() {}", ""},
		{"Error", "// E is.\ntype E int\nfunc (E) Error() string { return \"\" }", ""},
		{"another Error", "// E is.\ntype E int\nfunc (E) Error(int) string { return \"\" }", "E.Error"},
		{"String", "// E is.\ntype E int\nfunc (E) String() string { return \"\" }", "E.String"},
		{"type", "type T int", "T"},
		{"type in a group", "type (\n\t// T is.\n\tT int\n\tU int\n)", "U"},
		{"constants", "const (\n\tA = 1 // one\n\tB = 2\n)", "B"},
		{"group of constants", "// Some.\nconst (\n\tA = 1\n\tB = 2\n)", ""},
		{"variable", "var _, V = 1, 2", "V"},
	} {
		got := newComments()
		require.NoError(t, got.read("p/x.go", []byte("package p\n\n"+c.src)), c.name)
		if c.bare == "" {
			assert.Empty(t, got.missing(), c.name)
		} else if assert.Len(t, got.missing(), 1, c.name) {
			assert.Contains(t, got.missing()[0], ": "+c.bare+" has no doc comment", c.name)
		}
	}

	// A file of another system need not say it again.
	got := newComments()
	require.NoError(t, got.read("p/x_other.go", []byte("package p\n\nfunc F() {}")))
	require.NoError(t, got.read("q/x.go", []byte("package q\n\n// F does.\nfunc F() {}")))
	require.Equal(t, []string{"p/x_other.go:3:6: F has no doc comment"}, got.missing(), "and of another package says nothing")
	require.NoError(t, got.read("p/x_linux.go", []byte("package p\n\n// F does.\nfunc F() {}")))
	require.Empty(t, got.missing())
}
