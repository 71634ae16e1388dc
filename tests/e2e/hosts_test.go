//go:build linux

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// freeAddr is an address on which nobody listens, nor will: who asks for any port, or connects, meanwhile gets one of 127.0.0.1.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", rand.IntN(256), rand.IntN(256), 2+rand.IntN(253)))
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestHostsDoc: two hosts are joined, an id of one is called from the other, as docs/hosts.md shows.
func TestHostsDoc(t *testing.T) {
	b, err := os.ReadFile("../../docs/hosts.md")
	require.NoError(t, err)
	nats := freeAddr(t)
	var lines []string // of the site with a server within, and of what is done then
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if text := block[1]; strings.Contains(text, "--host two") && !strings.Contains(text, "durable.toml") || strings.Contains(text, "cnbus call") {
			lines = append(lines, strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "10.0.0.1:4222", nats)), "\n")...)
		}
	}
	require.Len(t, lines, 6)
	hosts := map[string]*site{"one": newSite(t), "two": newSite(t)}
	var last []string // what the last command printed
	for i, line := range lines {
		host, cmd, isCommand := strings.Cut(line, "$")
		cmd = strings.TrimSpace(cmd)
		if !isCommand {
			require.NotEmpty(t, last, line)
			assert.Equal(t, line, last[0])
			last = last[1:]
			continue
		}
		assert.Empty(t, last, "more than is shown")
		p := hosts[host].start("sh", "-c", "exec "+cmd+" 2>&1") // one stream has an order
		switch {
		case strings.HasPrefix(cmd, "cnbus serve"):
			p.expect(`^serving `)
			p.expect(`joined site main as host ` + host + `, number \d+`)
		case strings.HasPrefix(cmd, "cnbus listen"):
			p.expect(`registered`)
		default:
			require.Zero(t, p.exit(), "%s: %v", cmd, p.all())
			if last = p.all(); i == len(lines)-1 {
				require.Len(t, last, 3)
				assert.Regexp(t, `^ *\d+ +two +self `, last[1])
				assert.Regexp(t, `^ *\d+ +one +reachable .* +[12] +0 +1 +1 +\S+ \S+ +\S+ \S+ +\d+ +0$`, last[2]) // on a slow machine something is sent again
			}
		}
	}
}

// joinTwo starts the brokers of hosts one, at s, and two, which offers its agents, and returns the place of two once one sees them.
func (s *site) joinTwo() *site { return s.joinTwoAs("--host-uids", "same") }

// joinTwoAs is joinTwo where one has those flags besides.
func (s *site) joinTwoAs(flags ...string) *site {
	s.t.Helper()
	two, nats := newSite(s.t), freeAddr(s.t)
	s.broker(append([]string{"--no-proc", "--join", "embedded", "--embedded-listen", nats, "--host", "one"}, flags...)...).expect(`joined site`)
	two.broker("--no-proc", "--join", "nats://"+nats, "--host", "two", "--host-uids", "same", "--site-agents").expect(`joined site`)
	w := s.start("cnbus", "watch", "--json")
	w.expect(`"name":"tsocket two"`)
	w.expect(`"name":"rxrpc two"`)
	assert.Equal(s.t, 130, w.end(syscall.SIGINT))
	return two
}

// strangers is a policy for which the user of the programs is somebody else on another host.
const strangers = `
[[host]]
name = "*"
uids = { %d = 65533 }

[[rule]]
uid = ["self"]
register = ["*"]
send = ["*"]
join = ["*"]
unicast = true
rx_keys = ["*"]
`

// The agents of host two may send nothing to clients of host one, as its policy has it: these are told so at once.
func TestAgentsOfAHostThatMayNotAnswer(t *testing.T) {
	for name, rule := range map[string]string{
		"who may not connect":        "",
		"who may not send to a port": "[[rule]]\nuid = [\"*\"]\nsend = [\"*\"]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			uid := os.Geteuid()
			if nobody != nil {
				uid = int(nobody.Uid)
			}
			s.file("policy.toml", fmt.Sprintf(strangers, uid)+rule)
			s.joinTwoAs("--policy", "policy.toml")
			for _, cmd := range [][]string{
				{"cnbus", "rx", "call", "--on", "two", "--timeout", "0", "127.0.0.1:7", "1", "hello"},
				{"cnbus", "rx", "listen", "--on", "two", "127.0.0.1:0", "1"},
			} {
				r := s.run(cmd[0], cmd[1:]...)
				assert.Equal(t, 1, r.code, r.err)
				assert.Regexp(t, `host \d+, which is yours, does not let the rxrpc agent of host two \(number \d+\) send to its clients: the policy there has to give unicast`, r.err)
			}
			s.ok("rx", "calls", "--on", "two") // replies may always come
			s.ok("sock", "ls", "--on", "two")
		})
	}
}

func TestJoinFlags(t *testing.T) {
	s := newSite(t)
	for flags, want := range map[string]string{
		"--join embedded --host-uids root":               "nobody or same",
		"--join nats://x,http://y":                       "--join: URL 2 of NATS is none of the kind",
		"--join nats://x --lease 1ms":                    "the least is 1s",
		"--join nats://x --embedded-listen :1":           "--embedded-... are for --join embedded",
		"--join nats://x --nats-cert c.pem":              "go together",
		"--join embedded --embedded-peers 127.0.0.1:1":   "needs --embedded-cluster",
		"--join embedded --site-ids 7-1:*":               "7-1",
		"--join embedded --embedded-listen nonsense":     "nonsense",
		"--join embedded --host a --embedded-listen x:y": "port of x:y",
	} {
		r := s.run("cnbus", append([]string{"serve"}, strings.Fields(flags)...)...)
		assert.NotZero(t, r.code, flags)
		assert.Contains(t, r.err, want, flags)
	}
	s.broker("--no-proc")
	r := s.run("cnbus", "hosts")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "this broker has not joined others ('cnbus serve --join', docs/hosts.md)")
}

// What a broker that cannot join says, and what one that has.
func TestHostsAndDoctor(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc", "--join", "nats://127.0.0.1:1", "--host", "lonely")
	b.expect(`serving`)
	b.expect(`msg="not joined yet" err="NATS at nats://127.0.0.1:1: `)
	waiting := s.start("cnbus", "hosts", "--watch", "50ms")
	waiting.expect(`^ +- +lonely +joining `)
	waiting.expect(`^NATS at nats://127.0.0.1:1: `)
	assert.Equal(t, 130, waiting.end(syscall.SIGINT))
	r := s.run("cnbus", "hosts", "--json")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.out, `"name":"lonely","state":"joining","why":"NATS at nats://127.0.0.1:1: `)
	r = s.run("cnbus", "doctor", "--json")
	assert.Equal(t, 1, r.code)
	assert.Regexp(t, `"check":"site","status":"fail","text":"not joined: NATS at [^"]*","advice":"is the NATS server up`, r.out)
	b.end(syscall.SIGTERM)

	metrics, nats := freeAddr(t), freeAddr(t)
	s.broker("--no-proc", "--join", "embedded", "--embedded-listen", nats, "--host", "one", "--metrics", metrics).expect(`joined site`)
	assert.Regexp(t, `(?m)^ *\d+ +one +self +- +- +\d+\.\ds +0 +0 +0 +0 `, s.ok("hosts"))
	assert.Regexp(t, `"check":"site","status":"ok","text":"host one, number \d+, of 1 host by embedded, for others at nats://127[^ ]*, lease for \d`, s.run("cnbus", "doctor", "--json").out)
	resp, err := http.Get("http://" + metrics + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^cnbus_site_joined\{host="one"\} 1$`, string(body))
	assert.Regexp(t, `(?m)^cnbus_site_lease_seconds\{host="one"\} \d`, string(body))
	assert.Regexp(t, `(?m)^cnbus_site_sent_bytes_total\{host="one"\} [1-9]`, string(body))
	other := newSite(t)
	again := other.broker("--no-proc", "--no-sock", "--no-rx", "--join", "nats://"+nats, "--host", "one")
	m := again.expect(`msg="not joined, trying again" err="(a host named one has joined the site already \(number \d+\))"`)
	assert.Contains(t, other.run("cnbus", "hosts").out, "\n"+m[1]) // more follows while it tries again
	r = s.run("cnbus", "hosts", "--watch", "-1s")
	assert.Equal(t, 2, r.code)
}
