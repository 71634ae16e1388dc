//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const klogPassword = "correct horse"

// kdc has a user and a service of a cell.
func kdc(t *testing.T) *testkdc.KDC {
	t.Helper()
	k := testkdc.Start(t, "KLOG.TEST")
	k.AddUser(t, "joe", klogPassword)
	k.AddService(t, "afs/klog.test")
	return k
}

// klogs runs `cnbus rx klog` with that on its standard input.
func (s *site) klogs(k *testkdc.KDC, in string, args ...string) result {
	s.t.Helper()
	conf, err := os.ReadFile(k.Conf)
	require.NoError(s.t, err)
	args = append([]string{"rx", "klog", "--krb5-conf", s.file("krb5.conf", string(conf))}, args...)
	c := s.command("cnbus", args...)
	c.Stdin = strings.NewReader(in)
	return s.runCmd(c)
}

func TestRxKlog(t *testing.T) {
	s, k := newSite(t), kdc(t)
	file := filepath.Join(s.dir, "key")
	r := s.klogs(k, klogPassword+"\n", "--password", "joe", "--cell", "klog.test", "--file", file)
	require.Zero(t, r.code, "%s", r.err)
	assert.Regexp(t, `^joe@KLOG.TEST: ticket for afs/klog.test@KLOG.TEST until \S+, installed as afs@klog.test in file \S+\n$`, r.out)
	st, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode())
	payload, err := os.ReadFile(file)
	require.NoError(t, err)

	r = s.klogs(k, klogPassword, "--password", "joe@KLOG.TEST", "--cell", "klog.test", "--file", file, "--part", "--lifetime", "1h", "--json")
	require.Zero(t, r.code, "%s", r.err)
	var line struct {
		Key        string
		Expires    time.Time
		TicketType int `json:"ticket_type"`
		Installed  []string
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &line))
	assert.Equal(t, "afs@klog.test", line.Key)
	assert.Equal(t, 213, line.TicketType)
	assert.Equal(t, []string{"file " + file}, line.Installed)
	assert.WithinDuration(t, time.Now().Add(time.Hour), line.Expires, time.Minute)
	next, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotEqual(t, payload, next, "replaced")
	assert.NotContains(t, r.out+r.err, klogPassword)
}

// TestRxKlogInTheKernel: the user's keyring of the kernel, from which another program of the user has the key: a client whose
// socket names it calls a server that has its key from the KDC, encrypted.
func TestRxKlogInTheKernel(t *testing.T) {
	if _, err := keyring.OpenKernel(keyring.UserKeyring); err != nil {
		testenv.Skip(t, "no keyrings of the kernel: "+err.Error())
	}
	s, k := newSite(t), testkdc.Start(t, "KLOG.TEST")
	k.AddUser(t, "joe", klogPassword)
	keytab := keyring.Keytab(k.AddService(t, "afs/klog.test"))
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "rx-listen"), "github.com/cnbus/cnbus/examples/rx-listen").CombinedOutput()
	require.NoError(t, err, "%s", out)
	r := s.klogs(k, klogPassword, "--password", "joe", "--cell", "klog.test", "--keyring", "user", "--json")
	require.Zero(t, r.code, "%s", r.err)
	assert.Contains(t, r.out, `"installed":["keyring user"]`)

	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	srv := rxrpc.NewServer(e, &rxrpc.ServerConfig{Secured: true, Security: []rxrpc.ServerSecurity{
		rxkad.NewServer(rxkad.ServerConfig{Keys: keytab, MinLevel: rxkad.Encrypt}),
	}})
	t.Cleanup(func() { _ = srv.Close() })
	require.NoError(t, srv.Handle(52, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return fmt.Appendf(dst, "%s of %v", request, call.Security().Peer), nil
	})))
	r = s.run(filepath.Join(bin, "rx-listen"), "-connect", e.LocalAddr().String(), "-key", "afs@klog.test", "-level", "2", "hello")
	require.Zero(t, r.code, "%s", r.err)
	assert.Equal(t, "hello of joe@KLOG.TEST\n", r.out)
	r = s.klogs(k, klogPassword, "--password", "joe", "--cell", "klog.test", "--keyring", "process")
	assert.Equal(t, 2, r.code, "it would be gone with the command")
}

func TestRxKlogSaysWhatIsWrong(t *testing.T) {
	s, k := newSite(t), kdc(t)
	for _, c := range []struct {
		in, want string
		code     int
		args     string
	}{
		{"", "which cell?", 2, ""},
		{"", "whose?", 2, "--cell klog.test --password"},
		{"", "no password on standard input", 2, "--cell klog.test --password joe --file key"},
		{"x", "exclude each other", 2, "--cell klog.test --password joe --keytab x"},
		{"x", "--keyring", 2, "--cell klog.test --password joe --keyring bunch"},
		{"wrong", "password or key", 1, "--cell klog.test --password joe --file key"},
		{"", "no such file", 1, "--cell klog.test --cache nowhere --file key"},
		{"x", "no such service", 1, "--cell other.test --service-realm KLOG.TEST --password joe --file key"},
		{"x", "no KDC of KLOG.TEST answers", 3, "--cell klog.test --kdc 127.0.0.1:1 --password joe --file key"},
	} {
		in := c.in
		if strings.Contains(c.args, "other.test") {
			in = klogPassword
		}
		r := s.klogs(k, in, strings.Fields(c.args)...)
		assert.Equal(t, c.code, r.code, "%s: %s", c.args, r.err)
		assert.Contains(t, r.err, c.want, c.args)
		assert.NoFileExists(t, filepath.Join(s.dir, "key"))
	}
}

// TestRxKlogOnAnotherHost: the key is in the user's keyring of that host's broker, not in this one's, and calls made there use it.
func TestRxKlogOnAnotherHost(t *testing.T) {
	s, k := newSite(t), testkdc.Start(t, "KLOG.TEST")
	k.AddUser(t, "joe", klogPassword)
	keytab := keyring.Keytab(k.AddService(t, "afs/klog.test"))
	two := s.joinTwo()
	r := s.klogs(k, klogPassword, "--password", "joe", "--cell", "klog.test", "--on", "two", "--json")
	require.Zero(t, r.code, "%s", r.err)
	assert.Contains(t, r.out, `"installed":["keyring of the broker of host two"]`)
	assert.Contains(t, two.ok("rx", "key", "ls"), "afs@klog.test")
	assert.Contains(t, s.ok("rx", "key", "ls", "--on", "two"), "afs@klog.test")
	assert.NotContains(t, s.ok("rx", "key", "ls"), "afs@klog.test")

	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	srv := rxrpc.NewServer(e, &rxrpc.ServerConfig{Secured: true, Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: keytab})}})
	t.Cleanup(func() { _ = srv.Close() })
	require.NoError(t, srv.Handle(52, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return fmt.Appendf(dst, "%s of %v", request, call.Security().Peer), nil
	})))
	assert.Equal(t, "hello of joe@KLOG.TEST\n", s.ok("rx", "call", "--on", "two", "--key", "afs@klog.test", e.LocalAddr().String(), "52", "hello"))

	for args, want := range map[string]string{
		"--on three":           "--on three: no such host in the site, which has one, two",
		"--on two --bus=false": "does not go with --bus=false",
		"--on one --file key":  "", // this host by its name, and a file
	} {
		r := s.klogs(k, klogPassword, append([]string{"--password", "joe", "--cell", "klog.test"}, strings.Fields(args)...)...)
		assert.Equal(t, want == "", r.code == 0, "%s: %s", args, r.err)
		assert.Contains(t, r.err, want)
	}
	assert.Contains(t, s.ok("rx", "key", "ls"), "afs@klog.test")
	assert.FileExists(t, filepath.Join(s.dir, "key"))
}

// TestRxListenOnAnotherHost: the port is that host's, the service is here.
func TestRxListenOnAnotherHost(t *testing.T) {
	s := newSite(t)
	two := s.joinTwo()
	l := s.start("cnbus", "rx", "listen", "--on", "two", "127.0.0.1:0", "1234", "-n", "1")
	at := l.expect(`at (\S+)$`)[1]
	assert.Contains(t, two.ok("sock", "ls"), at)
	assert.Equal(t, "hello\n", two.ok("rx", "call", at, "1234", "hello"))
	assert.Zero(t, l.exit())
}

// TestRxKlogRenews: it stays until it is told to go; what it has installed stays.
func TestRxKlogRenews(t *testing.T) {
	s, k := newSite(t), kdc(t)
	conf, err := os.ReadFile(k.Conf)
	require.NoError(t, err)
	c := s.command("cnbus", "rx", "klog", "--krb5-conf", s.file("krb5.conf", string(conf)), "--cell", "klog.test", "--password", "joe",
		"--file", "key", "--lifetime", "16s", "--renew")
	c.Stdin = strings.NewReader(klogPassword)
	p := s.startCmd(c)
	tokens := func(n int) {
		p.expectFunc("one more token", func(line string) []string {
			if strings.Contains(line, "installed as") {
				n--
			}
			if n > 0 {
				return nil
			}
			return []string{line}
		})
	}
	tokens(1)
	first, err := os.ReadFile(filepath.Join(s.dir, "key"))
	require.NoError(t, err)
	for n := 2; ; n++ { // each after two thirds; the first may be the second, read late
		tokens(n)
		next, err := os.ReadFile(filepath.Join(s.dir, "key"))
		require.NoError(t, err)
		if n > 3 || !bytes.Equal(first, next) {
			assert.NotEqual(t, first, next)
			break
		}
	}
	assert.Equal(t, 143, p.end(syscall.SIGTERM))
	assert.FileExists(t, filepath.Join(s.dir, "key"))
}

// runKlogExample runs an example of `cnbus rx klog` where example.com is a realm with a KDC, joe has
// logged in, and robot has a keytab.
func runKlogExample(t *testing.T, line string) {
	k := testkdc.Start(t, "EXAMPLE.COM")
	k.AddUser(t, "joe", klogPassword)
	k.AddService(t, "afs/example.com")
	s := newSite(t)
	own := func(name, path string) string {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		path = s.file(name, string(b))
		require.NoError(t, os.Chmod(path, 0o600))
		if nobody != nil {
			require.NoError(t, os.Chown(path, int(nobody.Uid), int(nobody.Gid)))
		}
		return path
	}
	own("robot.keytab", k.AddService(t, "robot"))
	s.env = append(
		s.env, "KRB5_CONFIG="+own("krb5.conf", k.Conf),
		"KRB5CCNAME=FILE:"+own("cache", strings.TrimPrefix(k.Init(t, "joe", klogPassword), "FILE:")),
	)
	if strings.Contains(line, "--bus") {
		s.broker()
	}
	if strings.Contains(line, "--on two") {
		s.joinTwo()
	}
	if strings.Contains(line, "--renew") { // until Ctrl-C
		p := s.start("sh", "-c", "exec "+line)
		p.expect(`installed as`)
		assert.Equal(t, 130, p.end(syscall.SIGINT))
		return
	}
	assert.Zero(t, s.start("sh", "-c", "echo '"+klogPassword+"' | "+line).exit())
}
