//go:build linux

package e2e

import (
	"crypto/x509"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commandsOf returns the paths of all commands of a program, from its help.
func commandsOf(s *site, path ...string) [][]string {
	s.t.Helper()
	r := s.run(path[0], append(slices.Clone(path[1:]), "--help")...)
	require.Zero(s.t, r.code)
	all := [][]string{path}
	section := ""
	for line := range strings.Lines(r.out) {
		if strings.HasSuffix(line, ":\n") && !strings.HasPrefix(line, " ") {
			section = strings.TrimSpace(line)
		}
		m := regexp.MustCompile(`^  ([a-z][a-z-]*) +[A-Z]`).FindStringSubmatch(line)
		if m == nil || !slices.Contains([]string{"Available Commands:", "Additional Commands:", "Run the bus:", "Look at it:", "Use it:"}, section) ||
			slices.Contains([]string{"completion", "help"}, m[1]) {
			continue
		}
		all = append(all, commandsOf(s, append(slices.Clone(path), m[1])...)...)
	}
	return all
}

// examplesOf returns the command lines in the help of a command.
func examplesOf(s *site, path []string) []string {
	s.t.Helper()
	r := s.run(path[0], append(slices.Clone(path[1:]), "--help")...)
	_, rest, _ := strings.Cut(r.out, "\nExamples:\n")
	var lines []string
	for line := range strings.Lines(rest) {
		if line != "\n" && !strings.HasPrefix(line, " ") {
			break // the next section
		}
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// endless tells the examples that a user ends with Ctrl-C.
func endless(line string) bool {
	if strings.Contains(line, " --count ") || strings.Contains(line, " -n ") {
		return false
	}
	return regexp.MustCompile(`^(cnbus (serve|watch|monitor|listen|proc|rx listen)|cnbus .* --watch|cn-test (notify|recv))\b`).MatchString(line)
}

// alone tells the examples that want no broker to be there already.
func alone(line string) bool {
	return strings.HasPrefix(line, "cnbus serve") || regexp.MustCompile(`^cn-test( -|$)`).MatchString(line)
}

const examplePolicy = `
[[rule]]
name = "everybody"
uid = ["*"]
register = ["0x100-0x1ff:*"]
send = ["*"]
join = ["*"]
`

// busySite has a broker, an agent, somebody in a group, and a bustle of
// messages, registrations and processes.
func busySite(t *testing.T) (s *site, echo string) {
	s = newSite(t)
	s.file("policy.toml", examplePolicy)
	s.broker("--join", "embedded", "--host", "one").expect(`joined site`)
	l := s.start("cnbus", "rx", "listen", "127.0.0.1:0", "1234", "52")
	echo = l.expect(`serving service 1234, 52 at (\S+)$`)[1]
	s.start("cnbus", "listen", "--id", "0x123:0x456", "--name", "demo", "--reply", "pong", "--keep", "10").expect(`registered`)
	s.start("cnbus", "listen", "291").expect(`listening`)
	s.start("cn-test", "send", "-q", "0x123:0x456", "--group", "291", "-n", "1000000", "--interval", "5ms")
	s.start("sh", "-c", "while :; do cn-test -q -n 1 --interval 1ms --id 0x12a:0x456 >/dev/null; sh -c 'exit 3'; done")
	return s, echo
}

// Every example in the help of every command works.
func TestExamples(t *testing.T) {
	s := newSite(t)
	paths := append(commandsOf(s, "cnbus"), commandsOf(s, "cn-test")...)
	require.Greater(t, len(paths), 20)
	seen := map[string]bool{}
	busy, echo := busySite(t)
	own := regexp.MustCompile(`\brx listen (127\.0\.0\.1:)?\d+`) // any port
	called := regexp.MustCompile(`\brx call 127\.0\.0\.1:\d+`)
	server := regexp.MustCompile(`\bafs1\.example\.com(:\d+)?`) // stands for a server of the reader's
	rx := replay(t)
	for _, path := range paths {
		name := strings.Join(path, " ")
		examples := examplesOf(s, path)
		if path[len(path)-1] != "version" && name != "cnbus policy" {
			assert.NotEmpty(t, examples, "%s has no examples", name)
		}
		for _, line := range examples {
			if seen[line] {
				continue
			}
			seen[line] = true
			t.Run(line, func(t *testing.T) {
				line = own.ReplaceAllString(line, "rx listen ${1}0")
				line = strings.ReplaceAll(line, "192.0.2.1:7400", "127.0.0.1:0") // an address of the reader's
				line = called.ReplaceAllString(line, "rx call "+echo)
				runExample(t, busy, server.ReplaceAllString(line, rx))
			})
		}
	}
}

func runExample(t *testing.T, busy *site, line string) {
	if strings.HasPrefix(line, "cnbus rx klog") {
		runKlogExample(t, line)
		return
	}
	s := &site{t: t, dir: busy.dir, env: busy.env}
	if strings.HasPrefix(line, "cnbus rx key") { // of keys that are there
		require.Zero(t, s.key("", "add", "rxrpc", "afs@example.com").code)
		require.Zero(t, s.key(serviceKey, "add", "rxrpc_s", "52:2", "--hex").code)
	}
	if strings.Contains(line, "--keytab rxkad.keytab") {
		k := keytab.New()
		require.NoError(t, k.AddEntry("afs/example.com", "EXAMPLE.COM", "password", time.Now(), 7, 18))
		b, err := k.Marshal()
		require.NoError(t, err)
		s.private("rxkad.keytab", b)
	}
	if alone(line) {
		s = newSite(t)
		s.file("policy.toml", examplePolicy)
		if strings.Contains(line, "--listen-tls") {
			newCertifier(s, "site").write("broker", &x509.Certificate{}, "broker")
		}
		s.env = append(s.env, "CNBUS_SOCKET=", "XDG_RUNTIME_DIR="+s.dir)
		require.NoError(t, os.Mkdir(s.dir+"/cnbus", 0o700))
		if nobody != nil {
			require.NoError(t, os.Chown(s.dir+"/cnbus", int(nobody.Uid), int(nobody.Gid)))
		}
	}
	if endless(line) {
		p := s.start("sh", "-c", "exec "+line)
		p.expect(``) // whatever comes first
		code := p.end(syscall.SIGINT)
		if strings.HasPrefix(line, "cnbus serve") {
			assert.Zero(t, code, "a broker ends in good order")
		} else {
			assert.Equal(t, 130, code)
		}
		return
	}
	code := s.start("sh", "-c", line).exit()
	if strings.HasPrefix(line, "cnbus doctor") {
		assert.LessOrEqual(t, code, 1, "a finding is no failure of the example")
		return
	}
	assert.Zero(t, code)
}
