package layering

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const module = "github.com/cnbus/cnbus"

// A layer says what the packages that match pkg may import of the project. The
// most specific pattern of the table counts for a package. "a/..." is a and all
// below it, "..." everything, "!a" takes away again; "." is the subtree of the importing
// package itself.
type layer struct {
	pkg    string
	code   []string // what any file of the package may import
	tests  []string // what its tests may import besides
	public bool     // imports only what a stranger can: nothing internal
}

// layers is the drawing of the layers as a table: imports point downwards only.
var layers = []layer{
	{pkg: "cbid"},

	// Everything that touches a socket, and no bus inside.
	{pkg: "tsocket/...", code: []string{"tsocket/...", "!tsocket/tstest", "!tsocket/tsagent/..."}, tests: []string{"tsocket/tstest"}},

	// The RxRPC engine has no bus inside either; its protocol core no socket.
	{pkg: "rxrpc/...", code: []string{"rxrpc/...", "!rxrpc/rxagent/...", "tsocket"}, tests: []string{"tsocket/tstest"}},
	{pkg: "rxrpc/internal/...", code: []string{"rxrpc/internal/..."}},
	{pkg: "rxrpc/internal/facetest", code: []string{"rxrpc", "rxrpc/internal/...", "rxrpc/keyring", "rxrpc/rxkad"}},

	// The model, and the carriers, which do not know each other; their tests may
	// set one against the other.
	{pkg: "connector", code: []string{"cbid"}, tests: []string{"connector/bustest", "connector/loopback"}},
	{pkg: "connector/...", code: []string{"cbid", "connector", "connector/internal/...", "tsocket", "."}, tests: []string{"connector/...", "tsocket/tlsstream"}},
	// A broker is on its own bus, as a client of itself.
	{pkg: "connector/broker/...", code: []string{"cbid", "connector", "connector/client", "connector/internal/...", "tsocket", "tsocket/tlsstream", "."}, tests: []string{"connector/..."}},
	{pkg: "connector/internal/...", code: []string{"cbid", "connector", "connector/internal/...", "tsocket"}, tests: []string{"connector/bustest"}},
	// The bridge stands in the broker.
	{pkg: "connector/natsbridge", code: []string{"cbid", "connector", "connector/broker", "connector/internal/..."}, tests: []string{"connector/..."}},
	{pkg: "connector/bustest", code: []string{"cbid", "connector", "connector/internal/...", "."}, tests: []string{"connector/loopback"}},

	// Agents join an engine to the bus: they see both.
	{pkg: "connector/procevent/...", code: agentMaySee, tests: agentMaySee},
	{pkg: "rxrpc/rxagent/...", code: agentMaySee, tests: agentMaySee},
	{pkg: "tsocket/tsagent/...", code: agentMaySee, tests: agentMaySee},

	// Small helpers of several packages, and of tests.
	{pkg: "internal/...", code: []string{"cbid", "connector", "internal/..."}},
	{pkg: "internal/testenv"},
	{pkg: "internal/usernet", code: []string{"internal/testenv"}},
	{pkg: "internal/testkdc", code: []string{"internal/testenv"}},
	{pkg: "internal/layering"},

	// Programs stand on top: nothing imports them, not even each other.
	{pkg: "cmd/...", code: []string{"cbid", "connector/...", "tsocket/...", "rxrpc/...", "internal/...", "cmd/internal/...", "."}},
	{pkg: "examples/...", code: []string{"cbid", "connector/...", "tsocket/...", "rxrpc/...", "."}, public: true},
	{pkg: "tests/...", code: []string{"cbid", "connector/...", "tsocket/...", "rxrpc/...", "internal/...", "tests/..."}},
	{pkg: "examples/afs-ls", code: []string{"connector/...", "rxrpc/...", "examples/afs-vl/..."}, public: true},
	{pkg: "examples/afs-vl/...", code: []string{"tsocket/...", "rxrpc/...", "examples/afs-vl/..."}, public: true},
	{pkg: "tests/interop/...", code: []string{"tsocket/...", "rxrpc/...", "internal/testenv", "internal/testkdc", "examples/afs-vl/...", "tests/interop/..."}},
	{pkg: "contrib/..."},
}

var agentMaySee = []string{"cbid", "connector/...", "tsocket/...", "rxrpc/...", "internal/..."}

// everyTest is what the tests of any package may import of the project.
var everyTest = []string{"internal/testenv", "internal/usernet", "internal/testkdc"}

// A library says which packages may import the modules below path.
type library struct {
	path  string
	code  []string
	tests []string
}

// libraries lists every module that the project uses, so that a new one gets a
// place before it spreads. The packages that anybody imports (cbid, the model,
// the client) must not pull in a metrics library, a message server or a command line.
var libraries = []library{
	{path: "golang.org/x/sys", code: []string{"...", "!cbid", "!connector"}, tests: anywhere},
	{path: "golang.org/x/crypto", code: []string{"rxrpc/...", "tests/..."}},
	{path: "golang.org/x/sync", code: []string{"tests/...", "cmd/..."}, tests: anywhere},
	{path: "golang.org/x/net/bpf", code: netlinkUsers, tests: []string{"connector/..."}},
	{path: "golang.org/x/net/nettest", code: testCode, tests: []string{"tsocket/..."}},
	{path: "github.com/mdlayher/netlink", code: netlinkUsers, tests: []string{"connector/..."}},
	{path: "github.com/mdlayher/socket", code: append([]string{"tsocket/..."}, netlinkUsers...)},
	{path: "github.com/vishvananda/netns", code: netlinkUsers, tests: anywhere},
	// Kerberos: tickets are opened and fetched, nothing else knows of it.
	{path: "github.com/jcmturner", code: []string{"rxrpc/rxkad/...", "rxrpc/keyring/...", "rxrpc/klog/...", "cmd/...", "tests/..."}, tests: []string{"rxrpc/..."}},
	{path: "github.com/prometheus", code: []string{"connector/broker/...", "cmd/..."}, tests: []string{"tests/..."}},
	{path: "github.com/nats-io", code: []string{"connector/natsbridge/...", "tests/bench/...", "tests/hosts/..."}},
	{path: "github.com/spf13", code: []string{"cmd/..."}},
	{path: "golang.org/x/term", code: []string{"cmd/..."}},
	{path: "github.com/lmittmann/tint", code: []string{"cmd/..."}},
	{path: "github.com/BurntSushi/toml", code: []string{"connector/broker/...", "cmd/..."}, tests: []string{"tests/..."}},
	{path: "github.com/coreos/go-systemd", code: []string{"connector/broker/...", "cmd/..."}, tests: []string{"tests/..."}},
	{path: "github.com/stellar/go-xdr", code: []string{"examples/afs-vl/..."}},
	{path: "github.com/godbus/dbus", code: []string{"tests/bench/..."}},
	{path: "github.com/gopacket/gopacket", code: []string{"cmd/...", "internal/...", "tests/..."}, tests: anywhere},

	{path: "testing", code: testCode, tests: anywhere},
	{path: "github.com/stretchr/testify", code: testCode, tests: anywhere},
	{path: "github.com/google/go-cmp", code: testCode, tests: anywhere},
	{path: "pgregory.net/rapid", code: testCode, tests: anywhere},
	{path: "go.uber.org/goleak", code: testCode, tests: anywhere},

	// The model does no I/O. (Of net and syscall it has error values.)
	{path: "os", code: []string{"...", "!cbid", "!connector"}, tests: anywhere},
}

var (
	anywhere     = []string{"..."}
	netlinkUsers = []string{"connector/nlconn/...", "connector/procevent/...", "cmd/...", "tests/..."}
	// testCode are packages for tests whose files have other names than _test.go.
	testCode = []string{"connector/bustest/...", "rxrpc/internal/facetest", "tsocket/tstest/...", "internal/testenv", "internal/usernet", "internal/testkdc", "tests/..."}
)

// A file is what the rules need to know of a source file.
type file struct {
	name    string // path in the module
	pkg     string // directory in the module
	test    bool
	imports []string
}

// violations returns a sentence for each import of f that breaks a rule.
func violations(f file) []string {
	var out []string
	l, known := layerOf(f.pkg)
	if !known {
		return []string{fmt.Sprintf("%s: package %s has no place in the table of layers (internal/layering/rules_test.go)", f.name, f.pkg)}
	}
	for _, imp := range f.imports {
		dir, ours := strings.CutPrefix(imp, module+"/")
		switch {
		case imp == module:
			out = append(out, fmt.Sprintf("%s: nothing is to be imported from the root of the module", f.name))
		case ours && !l.mayImport(f, dir):
			out = append(out, fmt.Sprintf("%s: %s must not import %s: imports point downwards only", f.name, f.who(), dir))
		case !ours:
			if why := libraryViolation(f, imp); why != "" {
				out = append(out, fmt.Sprintf("%s: %s", f.name, why))
			}
		}
	}
	return out
}

func (f file) who() string {
	if f.test {
		return "a test of " + f.pkg
	}
	return f.pkg
}

// layerOf returns the layer with the longest pattern that matches pkg.
func layerOf(pkg string) (layer, bool) {
	var found []layer
	for _, l := range layers {
		if matches(l.pkg, pkg, "") {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return layer{}, false
	}
	return slices.MaxFunc(found, func(a, b layer) int {
		// "a" is more specific than "a/...", which matches a too.
		return cmp.Or(
			cmp.Compare(len(strings.TrimSuffix(a.pkg, "/...")), len(strings.TrimSuffix(b.pkg, "/..."))),
			cmp.Compare(len(b.pkg), len(a.pkg)),
		)
	}), true
}

func (l layer) mayImport(f file, dir string) bool {
	if dir == f.pkg && f.test { // an external test of the package itself
		return true
	}
	if l.public && !f.test && slices.Contains(strings.Split(dir, "/"), "internal") {
		return false
	}
	allowed := matchesAny(l.code, dir, f.pkg)
	if f.test {
		allowed = allowed || matchesAny(l.tests, dir, f.pkg) || matchesAny(everyTest, dir, f.pkg)
	}
	return allowed
}

func libraryViolation(f file, imp string) string {
	i := slices.IndexFunc(libraries, func(l library) bool { return imp == l.path || below(imp, l.path) })
	if i < 0 {
		if host, _, _ := strings.Cut(imp, "/"); strings.Contains(host, ".") {
			return fmt.Sprintf("module of %s has no place in the table of libraries (internal/layering/rules_test.go)", imp)
		}
		return "" // the standard library
	}
	l := libraries[i]
	if matchesAny(l.code, f.pkg, f.pkg) || f.test && matchesAny(l.tests, f.pkg, f.pkg) {
		return ""
	}
	return fmt.Sprintf("%s must not import %s; it belongs in %s", f.who(), imp, strings.Join(l.code, ", "))
}

func below(path, root string) bool { return strings.HasPrefix(path, root+"/") }

// matches reports whether pattern covers pkg; self is what "." stands for.
func matches(pattern, pkg, self string) bool {
	if pattern == "..." {
		return true
	}
	if pattern == "." {
		return pkg == self || below(pkg, self)
	}
	root, tree := strings.CutSuffix(pattern, "/...")
	return pkg == root || tree && below(pkg, root)
}

// matchesAny reports whether one of the patterns covers pkg and none with "!"
// does.
func matchesAny(patterns []string, pkg, self string) bool {
	found := false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if matches(not, pkg, self) {
				return false
			}
			continue
		}
		found = found || matches(p, pkg, self)
	}
	return found
}
