//go:build linux

package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// One line tells what a user wants to know, and a signal ends it in good order.
func TestServeGreetsAndStops(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := newSite(t)
			b := s.broker()
			assert.Regexp(t, `^serving `+s.socket()+`; policy: user \(\w+ and root\); process events: (yes|no \(.*\)); sockets: yes; RxRPC: (yes|no \(.*\))$`, b.all()[0])
			assert.Len(t, b.all(), 1)
			assert.Zero(t, b.end(sig))
			assert.Len(t, b.all(), 1, "a quiet life has a quiet end")
			assert.NoFileExists(t, s.socket())
		})
	}
}

func TestServeSecondInstanceIsRefused(t *testing.T) {
	s := newSite(t)
	s.broker()
	r := s.run("cnbus", "serve")
	assert.Equal(t, 1, r.code)
	assert.Regexp(t, `^cnbus: broker: another broker \(pid \d+\) already serves `+s.socket()+`: `, r.err)
	s.ok("ls") // the first one is well
}

func TestServeTakesOverAStaleSocket(t *testing.T) {
	s := newSite(t)
	b := s.broker()
	assert.Equal(t, -1, b.end(syscall.SIGKILL))
	assert.FileExists(t, s.socket(), "nobody removed it")
	r := s.run("cnbus", "ls")
	assert.Equal(t, 1, r.code)
	assert.Equal(t, "cnbus: no broker answers at "+s.socket()+"; start one with: cnbus serve --socket "+s.socket()+"\n", r.err)
	s.broker()
	s.ok("ls")
}

const policyBefore = `
[[rule]]
name = "first"
uid = ["self"]
register = ["0x100-0x1ff:*"]
send = ["*"]
join = ["*"]
`

// A changed policy counts from SIGHUP on, and who is connected stays; a policy
// at fault changes nothing.
func TestServeReloadsPolicyAndKeepsConnections(t *testing.T) {
	s := newSite(t)
	policy := s.file("policy.toml", policyBefore)
	b := s.broker("--policy", policy)
	watch := s.start("cnbus", "watch", "--json")
	watch.expect(`"change":"marker"`)
	first := s.start("cnbus", "listen", "--id", "0x123:1", "--reply", "here")
	watch.expect(`"change":"added".*"id":"291:1"`)

	s.file("policy.toml", strings.ReplaceAll(policyBefore, "0x100-0x1ff:*", "0x200:*"))
	b.signal(syscall.SIGHUP)
	b.expect(`policy reloaded`)
	assert.Contains(t, s.ok("policy", "show", "--json"), `"register":["512:*"]`)
	r := s.run("cnbus", "listen", "--id", "0x123:2")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "add callback 291:2: not permitted by policy")
	assert.Equal(t, "here\n", s.ok("call", "0x123:1"), "what was registered stays")

	s.file("policy.toml", "[[rule]]\nuid = [\n")
	b.signal(syscall.SIGHUP)
	b.expect(`policy not reloaded, the old one stays in force`)
	assert.Contains(t, s.ok("policy", "show", "--json"), `"register":["512:*"]`)

	first.end(syscall.SIGTERM)
	watch.expect(`"change":"removed".*"id":"291:1"`)
	for _, line := range watch.all() {
		assert.NotContains(t, line, "resync", "the connection was kept")
	}
	assert.Zero(t, b.end(syscall.SIGTERM))
}

func TestServeRefusesAPolicyAtFault(t *testing.T) {
	s := newSite(t)
	r := s.run("cnbus", "serve", "--policy", s.file("p.toml", "[[rule]]\nuid = ['*']\nregisters = []\n"))
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, `unknown key "rule.registers"`)
	assert.NoFileExists(t, s.socket())
}

func TestServeMetrics(t *testing.T) {
	s := newSite(t)
	path := filepath.Join(s.dir, "metrics.sock")
	b := s.broker("--metrics", "unix:"+path)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	get := func(url string) string {
		resp, err := client.Get("http://broker" + url)
		require.NoError(t, err)
		defer resp.Body.Close()
		assert.Equal(t, http.StatusOK, resp.StatusCode, url)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	s.run("cnbus", "send", "9:9", "to nobody")
	metrics := get("/metrics")
	assert.Contains(t, metrics, "\ncnbus_messages_sent_total 1\n")
	assert.Contains(t, metrics, "\n"+`cnbus_messages_failed_total{reason="no such id"} 1`+"\n")
	assert.Contains(t, metrics, "\ncnbus_sock_sockets 0\n")
	assert.Equal(t, "ok\n", get("/healthz"))
	assert.Contains(t, get("/debug/pprof/goroutine?debug=1"), "goroutine profile")
	fi, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), fi.Mode().Perm(), "profiles are nothing for strangers")
	client.CloseIdleConnections()
	assert.Zero(t, b.end(syscall.SIGTERM))

	r := s.run("cnbus", "serve", "--metrics", "0.0.0.0:9150")
	assert.Equal(t, 2, r.code)
	assert.Contains(t, r.err, "loopback address")
}
