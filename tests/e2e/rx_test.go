//go:build linux

package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echo starts `rx listen` and returns where it serves.
func (s *site) echo(args ...string) (*program, string) {
	s.t.Helper()
	p := s.start("cnbus", append([]string{"rx", "listen", "127.0.0.1:0"}, args...)...)
	return p, p.expect(`serving service [\d, ]+ at (\S+)$`)[1]
}

// By the agent, and without a broker: the same command, the same output.
func TestRxCallAndListen(t *testing.T) {
	for _, how := range []string{"", "--direct"} {
		t.Run("how"+how, func(t *testing.T) {
			s := newSite(t)
			s.broker("--no-proc")
			with := func(args ...string) []string {
				if how != "" {
					args = append(args, how)
				}
				return args
			}
			l, at := s.echo(with("1234", "1235")...)
			assert.Equal(t, "hello\n", s.ok(with("rx", "call", at, "1234", "hello")...))
			assert.Equal(t, "0001ff\n", s.ok(with("rx", "call", at, "1235", "--hex", "00 01 ff")...))
			assert.Equal(t, "000002027878\n", s.ok(with("rx", "call", at, "1234", "xx", "--op", "0x202")...))
			l.expect(`service 1234  127\.0\.0\.1:\d+  "hello" → 5 bytes in `)

			c := s.command("cnbus", with("rx", "call", at, "1234", "-", "--raw")...)
			big := strings.Repeat("0123456789abcdef", 1<<16)
			c.Stdin = strings.NewReader(big)
			r := s.runCmd(c)
			require.Zero(t, r.code, r.err)
			assert.True(t, big == r.out, "a megabyte came back")

			r = s.run("cnbus", with("rx", "call", at, "1236", "--json")...)
			assert.Equal(t, 1, r.code)
			assert.Contains(t, r.err, "RX_INVALID_OPERATION (-2)")
			var line struct {
				Error  string
				Abort  int32
				Remote bool
			}
			last(t, r.out, &line)
			assert.EqualValues(t, -2, line.Abort)
			assert.True(t, line.Remote)

			_, exec := s.echo(with("1", "--exec", `test "$RX_SERVICE" = 1 || exit 9; read x; test "$x" = fail && exit 42; echo "got $x from $RX_PEER"`)...)
			assert.Regexp(t, `^got it from 127\.0\.0\.1:\d+\n\n$`, s.ok(with("rx", "call", exec, "1", "it")...))
			r = s.run("cnbus", with("rx", "call", exec, "1", "fail")...)
			assert.Equal(t, 1, r.code)
			assert.Contains(t, r.err, "aborted by peer: code 42")
			_, aborts := s.echo(with("1", "--abort", "-455", "-n", "1")...)
			assert.Contains(t, s.run("cnbus", with("rx", "call", aborts, "1")...).err, "RXGEN_OPCODE (-455)")

			stopped, silent := s.echo(with("1")...)
			stopped.signal(syscall.SIGSTOP)
			assert.Equal(t, 3, s.run("cnbus", with("rx", "call", silent, "1", "--timeout", "300ms")...).code)
			assert.Equal(t, 130, l.end(syscall.SIGINT))
		})
	}
}

func TestRxListenCount(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	l, at := s.echo("1234", "--count", "2", "--reply", "pong", "--json")
	assert.Equal(t, "pong\n", s.ok("rx", "call", at, "1234", "ping"))
	assert.Equal(t, "pong\n", s.ok("rx", "call", at, "1234", "ping"))
	assert.Zero(t, l.exit())
	l.expect(`"event":"call",.*"service":1234,"len":4,"text":"ping","replied":4,"time_ns":\d+`)
}

func TestRxUsage(t *testing.T) {
	s := newSite(t)
	for _, args := range []string{
		"call 127.0.0.1:7 0", "call 127.0.0.1:7 x", "call 127.0.0.1:7 70000", "call 127.0.0.1:7 1 --hex zz", "call 127.0.0.1:7 1 --timeout -1s",
		"call 127.0.0.1:7 1 --key k --level high", "call 127.0.0.1:7 1 --op 99999999999", "listen x 1", "listen 7 0", "listen 7", "listen 7 1 --exec a --reply b",
	} {
		assert.Equal(t, 2, s.run("cnbus", append([]string{"rx"}, strings.Fields(args)...)...).code, args)
	}
	r := s.run("cnbus", "rx", "call", "127.0.0.1:7", "1")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "start one with: cnbus serve")
	s.broker("--no-proc", "--no-rx", "--no-sock")
	for _, args := range []string{"rx call 127.0.0.1:7 1", "rx calls", "rx peers"} {
		r = s.run("cnbus", strings.Fields(args)...)
		assert.Equal(t, 1, r.code)
		assert.Contains(t, r.err, "the broker has no RxRPC agent: ", args)
	}
	assert.NotContains(t, s.ok("stat"), "RxRPC", "what is not there is not shown")
}

// What the agent has, as /proc/net/rxrpc would show it.
func TestRxCallsConnsAndPeers(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	for _, what := range []string{"calls", "conns", "peers"} {
		assert.Equal(t, "no "+what+"\n", s.run("cnbus", "rx", what).err)
	}
	l, at := s.echo("1")
	l.signal(syscall.SIGSTOP)
	c := s.start("cnbus", "rx", "call", at, "1", "wait", "--timeout", "0")
	s.until("both sides", func(rows []map[string]any) bool { return len(rows) == 2 && rows[0]["state"] != "ClWtConn" }, "rx", "calls")
	pid := jsonNumber(uint64(c.cmd.Process.Pid))
	out := s.ok("rx", "calls")
	assert.Regexp(t, `(?m)^LOCAL +REMOTE +SERVICE +SIDE +STATE +CONN +CALL +RECEIVED +QUEUED +QUIET +USER +PID$`, out)
	assert.Regexp(t, `(?m)^\S+ +`+regexp.QuoteMeta(at)+` +1 +client +Cl\w+ +[0-9a-f]{8} .* `+pid+`$`, out)
	assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(at)+` +\S+ +1 +server +S[vr]\w+ .* `+jsonNumber(uint64(l.cmd.Process.Pid))+`$`, out)
	assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(at)+` +\S+ +1 +server +[0-9a-f]{8} +none +1 `, s.ok("rx", "conns"))
	assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(at)+` +127\.0\.0\.1:\d+ +1 `, s.ok("rx", "peers"))
	assert.Regexp(t, `RxRPC +\d+ sockets?, 2 calls, 2 connections, 2 peers`, s.ok("stat"))
	assert.Regexp(t, `(?m)^ *- +udp +open +127\.0\.0\.1:\d+ .* <rxrpc> +- +-$`, s.ok("sock", "ls"))
	c.end(syscall.SIGKILL)
	s.until("its calls go with it", func(rows []map[string]any) bool { return len(rows) == 0 }, "rx", "calls")
}

// A call is a few messages, and the monitor tells what they are.
func TestMonitorDecodesTheAgents(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	mon := s.start("cnbus", "monitor", "rxrpc", "tsocket")
	mon.expect(`watching`)
	monJSON := s.start("cnbus", "monitor", "--json")
	monJSON.expect(`watching`)
	_, at := s.echo("1234")
	s.ok("rx", "call", at, "1234", "hello")
	mon.expect(`call +rxrpc .*→ callback  SOCKET`)
	mon.expect(`→ callback  SENDMSG sock \d+ call \d+.* to ` + regexp.QuoteMeta(at) + `.*, 5 bytes`)
	mon.expect(`→ port \d+  event MSG sock \d+.*, 5 bytes`)
	monJSON.expect(`"decoded":"rxrpc reply BIND`)
	s.run("cnbus", "rx", "call", at, "1235", "x")
	mon.expect(`event MSG sock \d+.* RXRPC_ABORT -2 from`)
	s.run("cnbus", "rx", "call", at, "1234", "x", "--key", "afs@nowhere")
	mon.expect(`reply SETOPT sock \d+: errno \d+ .*no such key`)
	require.Zero(t, s.key(serviceKey, "add", "rxrpc_s", "52:2", "--hex").code)
	mon.expect(`call +rxrpc .*KEY_ADD`)
	all := mon.all()
	asked := slices.IndexFunc(all, func(l string) bool { return strings.HasSuffix(l, "→ callback  HELLO") })
	told := slices.IndexFunc(all, func(l string) bool { return strings.Contains(l, "reply HELLO: done") })
	assert.True(t, 0 < asked && asked < told, "a reply comes after its call: lines %d and %d", asked, told)

	s.run("cn-test", "sock", "--streams", "1", "--bytes", "10", "--datagrams", "1")
	for _, op := range []string{`open ipv4 stream`, `bind sock`, `listen sock`, `accepted sock`, `connect sock`, `writev sock \d+ posted 10 bytes`, `data sock \d+ 10 bytes`, `sendto sock`, `datagrams sock`, `close sock`} {
		mon.expect(`tsocket .*→ (callback|port \d+)  ` + op)
	}
	r := s.run("cnbus", "sock", "ls")
	require.Zero(t, r.code)
	mon.expect(`tsocket .*→ callback  stat`)
}

// Virtual sockets are told, too: their ends, windows and bytes.
func TestMonitorDecodesVirtualSockets(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc", "--no-rx", "--no-sock")
	mon := s.start("cnbus", "monitor", "bussock", "0x7001:1")
	mon.expect(`watching`)
	for _, name := range []string{"bus-http", "rx-bus"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, name), "github.com/cnbus/cnbus/examples/"+name).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	s.file("page", "hello")
	s.start(filepath.Join(bin, "bus-http"), "-serve", "0x7001:1", "-dir", s.dir)
	s.eventuallyListed("28673:1")
	assert.Equal(t, "hello", s.run(filepath.Join(bin, "bus-http"), "http://0x7001:1/page").out)
	mon.expect(`bussock .*stream \d+ to \d+: \d+ bytes at 0`)
	s.start(filepath.Join(bin, "rx-bus"), "-serve")
	s.eventuallyListed("28674:1")
	c := s.command(filepath.Join(bin, "rx-bus"))
	c.Stdin = strings.NewReader("hello\n")
	assert.Contains(t, s.runCmd(c).out, "hello")
	mon.expect(`bussock .*socket \d+ to \d+: \d+ datagrams?, \d+ bytes`)
}

// Every byte comes back through the whole stack, on each carrier.
func TestCnTestRx(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	for _, bus := range []string{"", "unix:" + s.socket(), "loopback:"} {
		r := s.run("cn-test", "rx", "--bus", bus, "-n", "300", "--callers", "5", "--size", "5000", "--bulk", "1000001", "--json")
		require.Zero(t, r.code, "%s: %s", bus, r.err)
		var sum struct {
			OK, Bulk_ok                  bool //nolint:revive,staticcheck // the names of the JSON
			Calls, Echoed, Wrong, Failed int
			Bytes                        uint64
		}
		last(t, r.out, &sum)
		assert.True(t, sum.OK)
		assert.True(t, sum.Bulk_ok)
		assert.Equal(t, 300, sum.Calls)
		assert.Equal(t, 300, sum.Echoed)
		assert.Zero(t, sum.Wrong+sum.Failed)
		assert.Positive(t, sum.Bytes)
	}
	r := s.run("cn-test", "rx", "-n", "10", "--bulk", "1000")
	require.Zero(t, r.code, r.err)
	assert.Regexp(t, `10 calls, 10 came back, 0 wrong, 0 failed   p50 .*calls/s\na call of 1000 B there and back: \S+ \S+/s\nevery byte came back\n$`, r.out)
	assert.Equal(t, 2, s.run("cn-test", "rx", "--callers", "0").code)
	assert.Equal(t, 1, s.run("cn-test", "rx", "--bus", "netlink:").code)
}

// A broker that is killed in the middle of calls: a clear word, exit code 3.
func TestCnTestRxWhenTheBrokerIsKilled(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc")
	p := s.start("cn-test", "rx", "-n", "1000000000")
	p.expect(`1000000000 calls of up to`)
	s.until("calls", func(rows []map[string]any) bool { return len(rows) > 0 }, "rx", "calls")
	assert.Equal(t, -1, b.end(syscall.SIGKILL))
	assert.Equal(t, 3, p.exit())
	p.expect(`^cn-test: the broker, or its RxRPC agent, went away: call \d+: `)
}

// A broker that is stopped, or killed, in the middle of a call and of a connection: whoever waits is told, and it ends in good order.
func TestServeEndsWithCallsInProgress(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			s := newSite(t)
			b := s.broker("--no-proc")
			l, at := s.echo("1")
			l.signal(syscall.SIGSTOP)
			call := s.start("cnbus", "rx", "call", at, "1", "wait", "--timeout", "0")
			s.until("both sides", func(rows []map[string]any) bool { return len(rows) == 2 && rows[0]["state"] != "ClWtConn" }, "rx", "calls")
			sock := s.start("cn-test", "sock", "--streams", "1", "--bytes", "100000000000", "--datagrams", "0")
			s.until("bytes that come back", func(rows []map[string]any) bool {
				return slices.ContainsFunc(rows, func(r map[string]any) bool { return r["bytes_in"].(float64) > 1e6 })
			}, "sock", "ls")
			code := b.end(sig)
			if sig == syscall.SIGTERM {
				assert.Zero(t, code)
				assert.Len(t, b.all(), 1, "a quiet end")
			}
			// Its server was this broker's too, and may have been the first to go: that is told by an abort then.
			if code := call.exit(); code == 1 && sig == syscall.SIGTERM {
				call.expect(`^cnbus: rxrpc call .*: aborted by peer: RX_CALL_DEAD`)
			} else {
				assert.Equal(t, 3, code)
				call.expect(`^cnbus: rxrpc call .*: .*RxRPC agent`)
			}
			assert.Equal(t, 3, sock.exit())
		})
	}
}

// A server comes back with the broker; a call that waits meanwhile is made then.
func TestRxListenComesBack(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc")
	_, at := s.echo("1234")
	assert.Equal(t, "one\n", s.ok("rx", "call", at, "1234", "one"))
	assert.Equal(t, -1, b.end(syscall.SIGKILL))
	s.broker("--no-proc")
	deadline := s.deadline()
	for {
		r := s.run("cnbus", "rx", "call", at, "1234", "two", "--timeout", "2s")
		if r.code == 0 {
			assert.Equal(t, "two\n", r.out)
			return
		}
		select {
		case <-deadline:
			require.Fail(t, "the service is not back", r.err)
		default:
		}
	}
}

const rxPolicyText = `
[[rule]]
name      = "callers"
uid       = ["self"]
register  = ["tsocket", "rxrpc"]
send      = ["*"]
rx_call   = ["127.0.0.1 1234"]
rx_listen = ["127.0.0.1:1024-65535 1234-1235"]
`

func TestRxPolicy(t *testing.T) {
	s := newSite(t)
	b := s.broker("--no-proc", "--policy", s.file("policy.toml", rxPolicyText))
	_, at := s.echo("1234", "1235")
	assert.Equal(t, "yes\n", s.ok("rx", "call", at, "1234", "yes"))
	r := s.run("cnbus", "rx", "call", at, "1235", "no")
	assert.Equal(t, 1, r.code)
	assert.Regexp(t, `rx_call 127\.0\.0\.1:\d+ 1235: no rx_call of rule callers allows it to uid \d+`, r.err)
	b.expect(`denied by policy.*no rx_call of rule callers`)
	r = s.run("cnbus", "rx", "listen", "127.0.0.1:0", "1236")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "no rx_listen of rule callers")
	r = s.run("cnbus", "rx", "call", at, "1234", "--key", "afs@example.com", "x")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "rx_keys use: no rx_keys of rule callers")
	var line struct {
		Broker struct{ Denied map[string]int }
	}
	require.NoError(t, json.Unmarshal([]byte(s.ok("stat", "--json")), &line))
	assert.Positive(t, line.Broker.Denied["rx_call"])
	assert.Positive(t, line.Broker.Denied["rx_listen"])
	assert.Positive(t, line.Broker.Denied["rx_keys"])
}

// --rx-port is where calls leave from; a port that is taken is said at once.
func TestServeRxPort(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	_, direct := s.echo("1", "--direct")
	port := direct[strings.LastIndexByte(direct, ':')+1:]
	other := s.start("cnbus", "serve", "--no-proc", "--socket", s.dir+"/o.sock", "--rx-port", port)
	other.expect(`RxRPC: no \(UDP port ` + port + `: .*address already in use\)`)
}
