package layering

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestImportsPointDownwards holds every import of the module against the tables.
func TestImportsPointDownwards(t *testing.T) {
	files := goFiles(t)
	seen := map[string]bool{}
	for _, f := range files {
		seen[f.pkg] = true
		for _, v := range violations(f) {
			t.Error(v)
		}
	}
	// Otherwise the loop above may have looked at nothing.
	for _, pkg := range []string{"cbid", "connector", "connector/internal/frame", "internal/testenv"} {
		require.Contains(t, seen, pkg)
	}
}

// TestRulesRefuse feeds the rules with imports that must not be.
func TestRulesRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		test     bool
		why      string
	}{
		{pkg: "cbid", imp: module + "/connector", why: "the identifier knows nobody"},
		{pkg: "cbid", imp: module + "/tsocket", test: true, why: "nor do its tests"},
		{pkg: "cbid", imp: module + "/internal/testenv", why: "testenv is for tests"},
		{pkg: "cbid", imp: "os", why: "no I/O"},
		{pkg: "tsocket", imp: module + "/cbid", why: "sockets know no bus"},
		{pkg: "tsocket", imp: module + "/connector", why: "sockets know no bus"},
		{pkg: "tsocket", imp: module + "/tsocket/tsagent", why: "an engine does not know its agent"},
		{pkg: "tsocket", imp: module + "/tsocket/tstest", why: "the conformance suite is for tests"},
		{pkg: "tsocket/tstest", imp: module + "/connector", why: "sockets know no bus"},
		{pkg: "connector", imp: module + "/tsocket", why: "the model does no I/O"},
		{pkg: "connector", imp: module + "/connector/internal/frame", why: "the model does not know the carriers"},
		{pkg: "connector", imp: module + "/connector/loopback", why: "the model does not know the carriers"},
		{pkg: "connector", imp: "os/exec", why: "the model does no I/O"},
		{pkg: "connector", imp: "golang.org/x/sys/unix", why: "the model does no I/O"},
		{pkg: "connector", imp: "github.com/prometheus/client_golang/prometheus", why: "metrics"},
		{pkg: "connector", imp: "github.com/nats-io/nats.go", why: "NATS"},
		{pkg: "connector", imp: "github.com/spf13/cobra", why: "command line"},
		{pkg: "connector", imp: "github.com/stretchr/testify/require", why: "test library in code"},
		{pkg: "connector", imp: "testing", why: "test library in code"},
		{pkg: "connector/client", imp: module + "/connector/broker", why: "carriers do not know each other"},
		{pkg: "connector/broker", imp: module + "/connector/procevent", why: "a carrier does not know an agent"},
		{pkg: "connector/broker", imp: module + "/rxrpc", why: "a carrier does not know an engine"},
		{pkg: "connector/broker", imp: module + "/internal/testenv", why: "testenv is for tests"},
		{pkg: "connector/broker", imp: "github.com/nats-io/nats-server/v2/server", why: "NATS is natsbridge's"},
		{pkg: "connector/client", imp: "github.com/prometheus/client_golang/prometheus", why: "everybody imports the client"},
		{pkg: "connector/internal/frame", imp: module + "/connector/broker", why: "upwards"},
		{pkg: "rxrpc", imp: module + "/connector", why: "RxRPC has no bus inside"},
		{pkg: "rxrpc", imp: module + "/connector", test: true, why: "RxRPC has no bus inside"},
		{pkg: "rxrpc", imp: module + "/rxrpc/rxagent", why: "an engine does not know its agent"},
		{pkg: "rxrpc/rxkad", imp: module + "/cbid", why: "RxRPC has no bus inside"},
		{pkg: "rxrpc/internal/proto", imp: module + "/tsocket", why: "the protocol core has no socket"},
		{pkg: "rxrpc/rxagent", imp: module + "/cmd/cnbus", why: "nobody imports a program"},
		{pkg: "tests/e2e", imp: module + "/cmd/cnbus", test: true, why: "nobody imports a program"},
		{pkg: "cmd/cn-test", imp: module + "/cmd/cnbus", why: "not even another program"},
		{pkg: "cmd/cnbus", imp: module + "/tests/bench", why: "upwards"},
		{pkg: "examples/watch", imp: module + "/internal/testenv", why: "a stranger cannot import it"},
		{pkg: "internal/layering", imp: module + "/connector", test: true, why: "it reads, it does not use"},
		{pkg: "connector", imp: module, why: "the root is no package"},
		{pkg: "connector/broker", imp: "example.org/new/module", why: "a library without a place"},
		{pkg: "newthing", imp: "fmt", why: "a package without a place"},
	} {
		f := file{name: c.pkg + "/x.go", pkg: c.pkg, test: c.test, imports: []string{c.imp}}
		assert.Len(t, violations(f), 1, "%s -> %s: %s", f.who(), c.imp, c.why)
	}
}

// TestRulesAllow feeds the rules with imports that the design wants.
func TestRulesAllow(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		test     bool
	}{
		{pkg: "cbid", imp: "encoding"},
		{pkg: "cbid", imp: module + "/internal/testenv", test: true},
		{pkg: "cbid", imp: module + "/cbid", test: true},
		{pkg: "cbid", imp: "pgregory.net/rapid", test: true},
		{pkg: "connector", imp: module + "/cbid"},
		{pkg: "connector", imp: "net"},
		{pkg: "connector", imp: "os", test: true},
		{pkg: "connector", imp: module + "/connector/loopback", test: true},
		{pkg: "connector/broker", imp: module + "/connector/internal/frame"},
		{pkg: "connector/broker", imp: module + "/connector/broker/policy"},
		{pkg: "connector/broker", imp: module + "/tsocket"},
		{pkg: "connector/broker", imp: module + "/connector/client", test: true},
		{pkg: "connector/broker", imp: "golang.org/x/sys/unix"},
		{pkg: "connector/broker", imp: "github.com/prometheus/client_golang/prometheus"},
		{pkg: "connector/bustest", imp: "testing"},
		{pkg: "connector/nlconn", imp: "github.com/mdlayher/netlink"},
		{pkg: "connector/natsbridge", imp: "github.com/nats-io/nats-server/v2/server"},
		{pkg: "connector/procevent", imp: module + "/connector/nlconn"},
		{pkg: "rxrpc", imp: module + "/tsocket"},
		{pkg: "rxrpc", imp: module + "/rxrpc/internal/proto"},
		{pkg: "rxrpc/internal/proto", imp: module + "/rxrpc/internal/wire"},
		{pkg: "rxrpc/rxagent", imp: module + "/connector"},
		{pkg: "rxrpc/rxagent", imp: module + "/rxrpc"},
		{pkg: "tsocket/tsagent", imp: module + "/connector"},
		{pkg: "cmd/cnbus", imp: module + "/rxrpc/rxagent"},
		{pkg: "cmd/cnbus", imp: module + "/cmd/cnbus/internal/table"},
		{pkg: "cmd/cnbus", imp: "github.com/spf13/cobra"},
		{pkg: "examples/watch", imp: module + "/connector/client"},
		{pkg: "examples/watch", imp: module + "/internal/testenv", test: true},
		{pkg: "tests/bench", imp: "github.com/nats-io/nats.go"},
	} {
		f := file{name: c.pkg + "/x.go", pkg: c.pkg, test: c.test, imports: []string{c.imp}}
		assert.Empty(t, violations(f), "%s -> %s", f.who(), c.imp)
	}
}
