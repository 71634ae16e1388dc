//go:build linux

package e2e

import (
	"os"
	"os/user"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// policyBlocks returns the TOML of docs/policy.md, and by name what is marked.
func policyBlocks(t *testing.T) (all []string, named map[string]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	named = make(map[string]string)
	for _, m := range regexp.MustCompile("(?s)(?:<!-- default: (\\w+) -->\n)?```toml\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		all = append(all, m[2])
		if m[1] != "" {
			named[m[1]] = m[2]
		}
	}
	return all, named
}

// Every example of the page is a policy.
func TestPolicyDocExamples(t *testing.T) {
	s := newSite(t)
	all, _ := policyBlocks(t)
	require.Greater(t, len(all), 5)
	for _, text := range all {
		out := s.ok("policy", "check", s.file("policy.toml", text))
		assert.Regexp(t, `^\S+policy.toml: ok: \d+ rules?, (no|\d+) limits?, (no history|1 history|\d+ histories)`, out, text)
	}
}

// The page says what the defaults are, and says it right.
func TestPolicyDocDefaults(t *testing.T) {
	_, named := policyBlocks(t)
	self := uint32(os.Geteuid())
	for name, real := range map[string]*broker.Policy{"user": broker.UserPolicy(), "system": broker.SystemPolicy()} {
		doc, err := broker.ParsePolicy(named[name])
		require.NoError(t, err)
		for _, uid := range []uint32{0, self, 12345} {
			cred := connector.Cred{UID: uid, GID: uid}
			assert.Equal(t, real.Check(cred, nil), doc.Check(cred, nil), "%s, uid %d", name, uid)
		}
	}
}

// What the page says of each key and limit.
func TestPolicyDocClaims(t *testing.T) {
	b, err := os.ReadFile("../../docs/policy.md")
	require.NoError(t, err)
	p, err := broker.ParsePolicy("[[rule]]\nuid = ['*']\n")
	require.NoError(t, err)
	l := p.Check(connector.Cred{UID: 1}, nil).Limits
	for key, def := range map[string]int64{
		"connections": int64(l.Connections), "registrations": int64(l.Registrations), "memberships": int64(l.Memberships),
		"watches": int64(l.Watches), "follows": int64(l.Follows), "sockets": int64(l.Sockets), "sock_bytes": l.SockBytes, "rx_sockets": int64(l.RxSockets),
		"rx_calls": int64(l.RxCalls), "rx_bytes": l.RxBytes, "rx_keys": int64(l.RxKeys), "rx_key_bytes": l.RxKeyBytes, "queued_bytes": l.QueuedBytes, "history_bytes": l.HistoryBytes,
	} {
		assert.Regexp(t, `(?m)^`+key+` +=.*# (default )?`+jsonNumber(uint64(def))+`\b`, string(b))
	}
}

func TestPolicyCheck(t *testing.T) {
	s := newSite(t)
	all, _ := policyBlocks(t)
	path := s.file("policy.toml", all[0])
	golden(t, "policy-check", s.ok("policy", "check", path, "--uid", "12345", "--gid", "4"))
	golden(t, "policy-check-nobody", s.ok("policy", "check", path, "--uid", "12345", "--gid", "12345"))
	golden(t, "policy-check-json", s.ok("policy", "check", path, "--uid", "12345", "--gid", "4", "--json"))

	for text, why := range map[string]string{
		"":                                      "no [[rule]]",
		"[[rule]]\nregister = ['*']\n":          "matches nobody",
		"[[rule]]\nuid = ['no such user']\n":    "unknown user",
		"[[rule]]\nuid = ['*']\nsend = ['x']\n": "neither",
		"[[rule]]\nuid = ['*'\n":                "toml",
		"[[rule]]\nuid = ['*']\nadmn = true\n":  "unknown key",
	} {
		path := s.file("bad.toml", text)
		r := s.run("cnbus", "policy", "check", path)
		assert.Equal(t, 1, r.code, text)
		assert.Contains(t, r.err, "cnbus: policy "+path+": ")
		assert.Contains(t, r.err, why)
		assert.Empty(t, r.out)
		r = s.run("cnbus", "policy", "check", path, "--json")
		assert.Equal(t, 1, r.code)
		assert.True(t, strings.HasPrefix(r.out, `{"file":"`+path+`","ok":false,"error":"`), r.out)
	}
	assert.Equal(t, 2, s.run("cnbus", "policy", "check").code)
	assert.Equal(t, 2, s.run("cnbus", "policy", "check", path, "--uid", "no such user").code)
}

// Who a user of another host is, and may do, is said by the page's example.
func TestPolicyCheckOfAnotherHost(t *testing.T) {
	s := newSite(t)
	all, _ := policyBlocks(t)
	path := ""
	for _, text := range all {
		if strings.Contains(text, "[[host]]") {
			path = s.file("policy.toml", text)
		}
	}
	require.NotEmpty(t, path)
	daemon, err := user.Lookup("daemon")
	require.NoError(t, err)
	check := func(args ...string) string {
		return s.ok(append([]string{"policy", "check", path, "--uid"}, args...)...)
	}
	assert.Regexp(t, "uid 1000, gid 100 of host one: uid "+daemon.Uid+`, gid 100 here \(by \[\[host\]\]\)`, check("1000", "--gid", "100", "--host", "one"))
	assert.Contains(t, check("1000", "--gid", "100", "--host", "one"), "users of the host one")
	assert.Contains(t, check("7", "--gid", "100", "--host", "one"), "uid 7, gid 100 here")
	assert.Contains(t, check("0", "--gid", "0", "--host", "one"), "uid 65534, gid 65534 here")
	out := check("0", "--gid", "0", "--host", "two")
	assert.Contains(t, out, "uid 65534, gid 65534 here")
	assert.NotContains(t, out, "users of the host one")
	assert.Contains(t, check("0", "--gid", "0", "--host", "two", "--json"), `"here":{"host":"two","uid":65534,"gid":65534,"rule":true}`)
	plain := s.file("plain.toml", all[0])
	assert.Contains(t, s.ok("policy", "check", plain, "--uid", "5", "--host", "two"), "no [[host]] is for that host")
	assert.Equal(t, 2, s.run("cnbus", "policy", "check", path, "--host", "one").code)
	assert.Equal(t, 2, s.run("cnbus", "policy", "check", path, "--uid", "daemon", "--host", "one").code)
}
