//go:build linux

package e2e

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const serviceKey = "a7838acbc783ec94"

// key runs `cnbus rx key` with that on its standard input.
func (s *site) key(in string, args ...string) result {
	s.t.Helper()
	c := s.command("cnbus", append([]string{"rx", "key"}, args...)...)
	c.Stdin = strings.NewReader(in)
	return s.runCmd(c)
}

// keyLine is a line of `rx key ls --json`.
type keyLine struct {
	KeyID       int `json:"key_id"`
	Type        string
	Description string
	UID         int
	State       string
	Size        int
	Expires     time.Time
}

func (s *site) keyLines(args ...string) []keyLine {
	s.t.Helper()
	r := s.key("", append([]string{"ls", "--json"}, args...)...)
	require.Zero(s.t, r.code, "%s", r.err)
	var all []keyLine
	for line := range strings.Lines(r.out) {
		var l keyLine
		require.NoError(s.t, json.Unmarshal([]byte(line), &l))
		all = append(all, l)
	}
	return all
}

// TestRxKey: a user's keys, from their beginning to their end; nobody is shown what is in them, those who watch the bus included.
func TestRxKey(t *testing.T) {
	s := newSite(t)
	s.broker()
	mon, monJSON := s.start("cnbus", "monitor", "--full"), s.start("cnbus", "monitor", "--json")
	pcap := s.start("cnbus", "monitor", "--pcap", filepath.Join(s.dir, "keys.pcapng"))
	for _, m := range []*program{mon, monJSON, pcap} {
		m.expect(`watching`)
	}
	said := ""
	must := func(r result) string {
		t.Helper()
		require.Zero(t, r.code, "%s", r.err)
		said += r.out + r.err
		return strings.TrimSpace(r.out)
	}
	assert.Equal(t, "cnbus: no keys\n", "cnbus: "+s.key("", "ls").err)
	ring := must(s.key("", "add", "keyring", "AFSkeys"))
	id := must(s.key(serviceKey+"\n", "add", "rxrpc_s", "52:2", "--hex", "--ring", "AFSkeys", "--timeout", "1h"))
	assert.Regexp(t, `^[1-9][0-9]*$`, ring+id)
	table := must(s.key("", "ls", "AFSkeys"))
	assert.Regexp(t, `(?m)^ *KEY +TYPE +DESCRIPTION +EXPIRES +SIZE +USER\n *`+id+` +rxrpc_s +52:2 +\S+ \S+ +8 B +`+userName(), table)
	own := s.keyLines()
	require.Len(t, own, 1)
	assert.Equal(t, []any{"keyring", "AFSkeys", 1, userID(), "good"}, []any{own[0].Type, own[0].Description, own[0].Size, own[0].UID, own[0].State})
	in := s.keyLines("AFSkeys")
	require.Len(t, in, 1)
	assert.WithinDuration(t, time.Now().Add(time.Hour), in[0].Expires, time.Minute)

	assert.Contains(t, must(s.key("", "show", id)), "PERMISSIONS")
	must(s.key("", "revoke", id))
	assert.Contains(t, must(s.key("", "show", id)), "revoked")
	must(s.key("", "unlink", id, "--ring", "AFSkeys"))
	must(s.key("", "unlink", "AFSkeys"))
	assert.Empty(t, s.keyLines())

	// A client of its own that does not seal what it sends.
	raw := "\xa7\x83\x8a\xcb\xc7\x83\xec\x94"
	add := rxmsg.KeyAdd{Type: "rxrpc_s", Description: "53:2", Payload: []byte(raw)}
	request, err := add.Append(rxmsg.Header{Op: rxmsg.OpKeyAdd}.Append(nil))
	require.NoError(t, err)
	s.ok("call", "rxrpc", "--hex", hex.EncodeToString(request))
	assert.Equal(t, "53:2", s.keyLines()[0].Description, "the key is what it was")
	s.run("cnbus", "send", "300:1", "--group", "300", "the end") // nobody listens; who watches has seen all that was before
	mon.expect(`"the end"`)
	monJSON.expect(`"text":"the end"`)
	var file []byte
	for deadline := s.deadline(); !strings.Contains(string(file), "the end"); {
		select {
		case <-deadline:
			require.Fail(t, "the file ends too early", "%q", file)
		case <-time.After(20 * time.Millisecond):
		}
		file, err = os.ReadFile(filepath.Join(s.dir, "keys.pcapng"))
		require.NoError(t, err)
	}
	for _, m := range []*program{mon, monJSON, pcap} {
		m.end(syscall.SIGINT)
	}
	watched := strings.Join(mon.all(), "\n")
	assert.Contains(t, watched, "KEY_ADD")
	watched += strings.Join(monJSON.all(), "\n") + string(file)
	assert.Contains(t, watched, `"decoded":"rxrpc KEY_ADD`)
	assert.Contains(t, string(file), "53:2")
	for _, secret := range []string{serviceKey, raw, strings.ToUpper(serviceKey), "a7 83 8a cb"} {
		assert.NotContains(t, said+watched, secret)
	}
}

func TestRxKeySaysWhatIsWrong(t *testing.T) {
	s := newSite(t)
	r := s.key("", "ls")
	assert.Equal(t, 1, r.code, "%s", r.err)
	s.broker()
	for _, c := range []struct {
		in, want string
		code     int
		args     string
	}{
		{"x", "keys are of type", 2, "add user x"},
		{"", "a keyring is empty", 2, "add keyring x --hex"},
		{"zz", "not hexadecimal", 2, "add rxrpc_s 52:2 --hex"},
		{"1234", "malformed description or payload", 1, "add rxrpc_s 52:2"},
		{"0101010101010101", "not acceptable", 1, "add rxrpc_s 52:2 --hex"},
		{strings.Repeat("x", 1<<16+1), "more than 65536 bytes", 1, "add rxrpc afs@x"},
		{"", "no such file", 1, "add rxrpc afs@x --file nowhere"},
		{"", "no key", 1, "show afs@nowhere"},
		{"", "no such key", 1, "show 4711"},
		{"", "no such key", 1, "revoke 4711"},
		{"", "no such key", 1, "ls --uid 4711"},
		{"", "no user", 2, "ls --uid -7"},
	} {
		r := s.key(c.in, strings.Fields(c.args)...)
		assert.Equal(t, c.code, r.code, "%s: %s", c.args, r.err)
		assert.Contains(t, r.err, c.want, c.args)
		assert.Empty(t, r.out)
	}
}

// TestRxKlogInstallsInTheBroker: where a broker runs the ticket is for its sockets too, unless it is said where.
func TestRxKlogInstallsInTheBroker(t *testing.T) {
	s, k := newSite(t), kdc(t)
	r := s.klogs(k, klogPassword, "--password", "joe", "--cell", "klog.test", "--bus")
	assert.Equal(t, 1, r.code, "there is no broker")
	s.broker()
	installed := func(args ...string) []string {
		r := s.klogs(k, klogPassword, append([]string{"--password", "joe", "--cell", "klog.test", "--json"}, args...)...)
		require.Zero(t, r.code, "%s", r.err)
		var line struct{ Installed []string }
		require.NoError(t, json.Unmarshal([]byte(r.out), &line))
		return line.Installed
	}
	assert.Equal(t, []string{"file key"}, installed("--file", "key"))
	assert.Empty(t, s.keyLines())
	assert.Contains(t, installed(), "keyring of the broker")
	assert.Equal(t, []string{"keyring of the broker"}, installed("--bus"))
	all := s.keyLines()
	require.Len(t, all, 1)
	assert.Equal(t, []any{"rxrpc", "afs@klog.test", "good"}, []any{all[0].Type, all[0].Description, all[0].State})
	assert.WithinDuration(t, time.Now().Add(24*time.Hour), all[0].Expires, 24*time.Hour)
}

// ticket is the payload of a client's key, with a ticket that the service with that key has printed.
func ticket(t *testing.T, key string, r rxkad.TicketRequest) string {
	t.Helper()
	b, err := hex.DecodeString(key)
	require.NoError(t, err)
	token, err := rxkad.PrintTicket4(rxkad.NewKey(b), 3, r)
	require.NoError(t, err)
	payload, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)
	return string(payload)
}

// TestRxCallWithKeys: a service that takes secured calls only, from a client whose key is in the broker, at each level. Who has no ticket, another service's, or
// an old one, or chooses less than the service wants, is told which of it.
func TestRxCallWithKeys(t *testing.T) {
	s := newSite(t)
	s.broker("--no-proc")
	must := func(in string, args ...string) {
		t.Helper()
		r := s.key(in, args...)
		require.Zero(t, r.code, "%s", r.err)
	}
	must("", "add", "keyring", "mykeys")
	must(serviceKey, "add", "rxrpc_s", "1234:2", "--hex", "--ring", "mykeys")
	must(ticket(t, serviceKey, rxkad.TicketRequest{Name: "joe", Cell: "X.TEST"}), "add", "rxrpc", "afs@x.test")
	must(ticket(t, "0123456789abcdef", rxkad.TicketRequest{Name: "joe", Cell: "X.TEST"}), "add", "rxrpc", "afs@other")
	ago := uint32(time.Now().Add(-time.Minute).Unix())
	must(ticket(t, serviceKey, rxkad.TicketRequest{Name: "joe", Begins: ago - 3600, Expires: ago}), "add", "rxrpc", "afs@old")

	mon := s.start("cnbus", "monitor", "--json", "rxrpc")
	mon.expect(`watching`)
	l, at := s.echo("1234", "--keyring", "mykeys")
	for _, level := range []string{"clear", "auth", "crypt"} {
		assert.Equal(t, "hello\n", s.ok("rx", "call", at, "1234", "hello", "--key", "afs@x.test", "--level", level))
		assert.Regexp(t, `(?m)^`+regexp.QuoteMeta(at)+` +\S+ +1234 +server +[0-9a-f]{8} +rxkad `+level+` `, s.ok("rx", "conns"))
	}
	l.expect(`service 1234 .* "hello" → 5 bytes`)
	_, strict := s.echo("1234", "--keyring", "mykeys", "--level", "crypt")
	assert.Equal(t, "hello\n", s.ok("rx", "call", strict, "1234", "hello", "--key", "afs@x.test"))
	for _, c := range []struct{ at, with, want string }{
		{at, "", `aborted by peer: RX_INVALID_OPERATION \(-2\)`},
		{at, "--key afs@other", `aborted by peer: RXKAD`},
		{at, "--key afs@old", `the key has expired`},
		{at, "--key afs@nowhere", `no such key`},
		{strict, "--key afs@x.test --level auth", `RXKADLEVELFAIL`},
	} {
		r := s.run("cnbus", append([]string{"rx", "call", c.at, "1234", "hello"}, strings.Fields(c.with)...)...)
		assert.Equal(t, 1, r.code, c.with)
		assert.Empty(t, r.out)
		assert.Regexp(t, c.want, r.err, c.with)
	}
	r := s.run("cnbus", "rx", "listen", "127.0.0.1:0", "7", "--keyring", "nowhere")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "no such key")
	assert.Equal(t, 2, s.run("cnbus", "rx", "listen", "127.0.0.1:0", "7", "--keyring", "x", "--level", "high").code)

	mon.end(syscall.SIGINT)
	watched := strings.Join(mon.all(), "\n")
	assert.Contains(t, watched, "rxrpc SENDMSG")
	assert.NotContains(t, watched, serviceKey)
}

// TestRxListenWithKeysOfTheKernel: a server without a broker has its keys from a keyring of the kernel, and says who calls.
func TestRxListenWithKeysOfTheKernel(t *testing.T) {
	runtime.LockOSThread() // the session is the thread's, and that of what it starts; both end with the test
	if _, err := unix.KeyctlJoinSessionKeyring("cnbus-test"); err != nil {
		testenv.Skip(t, "no keyrings of the kernel: "+err.Error())
	}
	session, err := keyring.OpenKernel(keyring.SessionKeyring)
	require.NoError(t, err)
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	require.NoError(t, err)
	_, err = unix.AddKey("keyring", "mykeys", nil, id)
	require.NoError(t, err)
	ring, err := session.Keyring("mykeys")
	require.NoError(t, err)
	_, err = session.Keyring("others")
	require.ErrorIs(t, err, syscall.ENOKEY)
	raw, err := hex.DecodeString(serviceKey)
	require.NoError(t, err)
	require.NoError(t, ring.Add(keyring.TypeServer, "1234:2", raw))
	require.NoError(t, session.Add(keyring.TypeClient, "afs@x.test", []byte(ticket(t, serviceKey, rxkad.TicketRequest{Name: "joe", Cell: "X.TEST"}))))
	require.NoError(t, session.Add(keyring.TypeClient, "afs@other", []byte(ticket(t, "0123456789abcdef", rxkad.TicketRequest{Name: "joe"}))))

	s := newSite(t)
	l, at := s.echo("1234", "--keyring", "mykeys", "--direct", "--level", "auth")
	for _, level := range []string{"auth", "crypt"} {
		assert.Equal(t, "hello\n", s.ok("rx", "call", at, "1234", "hello", "--direct", "--key", "afs@x.test", "--level", level))
		l.expect(`service 1234 .* joe@X.TEST .*"hello" → 5 bytes`)
	}
	for with, want := range map[string]string{
		"":                               `RX_INVALID_OPERATION`,
		"--key afs@other":                `aborted by peer: RXKAD`,
		"--key afs@x.test --level clear": `RXKADLEVELFAIL`,
	} {
		r := s.run("cnbus", append([]string{"rx", "call", at, "1234", "hello", "--direct"}, strings.Fields(with)...)...)
		assert.Equal(t, 1, r.code, with)
		assert.Regexp(t, want, r.err, with)
	}
	r := s.run("cnbus", "rx", "listen", "127.0.0.1:0", "7", "--keyring", "nowhere", "--direct")
	assert.Equal(t, 1, r.code)
	assert.Empty(t, r.out)
}

// private makes a file that only the user of the site's programs may read.
func (s *site) private(name string, b []byte) {
	s.t.Helper()
	path := s.file(name, string(b))
	require.NoError(s.t, os.Chmod(path, 0o600))
	if nobody != nil {
		require.NoError(s.t, os.Chown(path, int(nobody.Uid), int(nobody.Gid)))
	}
}

// TestRxKeyFromAKeytab: a KDC's keytab has the keys of a service over the bus, which then knows who calls; one with the keys of several principals is not
// taken as a whole.
func TestRxKeyFromAKeytab(t *testing.T) {
	s, k := newSite(t), testkdc.Start(t, "KLOG.TEST")
	k.AddUser(t, "joe", klogPassword)
	afs, err := os.ReadFile(k.AddService(t, "afs/klog.test"))
	require.NoError(t, err)
	host, err := os.ReadFile(k.AddService(t, "host/x.klog.test"))
	require.NoError(t, err)
	s.private("afs.keytab", afs)
	s.private("both.keytab", append(append([]byte(nil), afs...), host[2:]...)) // one version, then entries
	s.private("bad.keytab", afs[:len(afs)-1])
	s.private("none.keytab", afs[:2])
	s.private("open.keytab", afs)
	require.NoError(t, os.Chmod(filepath.Join(s.dir, "open.keytab"), 0o644))
	realms := keytab.New()
	for _, realm := range []string{"KLOG.TEST", "OTHER.TEST"} {
		require.NoError(t, realms.AddEntry("afs/klog.test", realm, "password", time.Now(), 7, 18))
	}
	b, err := realms.Marshal()
	require.NoError(t, err)
	s.private("realms.keytab", b)
	s.broker("--no-proc")
	add := func(args string) result { return s.key("", strings.Fields("add rxrpc_s "+args)...) }
	for _, c := range []struct {
		args, want string
		code       int
	}{
		{"1234 --keytab both.keytab", "afs/klog.test@KLOG.TEST, host/x.klog.test@KLOG.TEST: which", 2},
		{"1234 --keytab realms.keytab --principal afs/klog.test", "afs/klog.test@KLOG.TEST, afs/klog.test@OTHER.TEST: which", 2},
		{"1234 --keytab both.keytab --principal nobody", "has no keys of nobody, but of afs", 1},
		{"1234 --keytab bad.keytab", "a damaged one", 1},
		{"1234 --keytab none.keytab", "no keys", 1},
		{"1234 --keytab nowhere", "no such file", 1},
		{"1234 --keytab open.keytab", "others than the owner", 1},
		{"1234:2 --keytab afs.keytab", "number of a service", 2},
		{"1234 --keytab afs.keytab --hex", "exclude each other", 2},
		{"1234 --principal joe", "--keytab", 2},
	} {
		r := add(c.args)
		assert.Equal(t, c.code, r.code, "%s: %s", c.args, r.err)
		assert.Contains(t, r.err, c.want, c.args)
		assert.Empty(t, r.out)
	}
	assert.Empty(t, s.keyLines())
	require.Zero(t, s.key("", "add", "keyring", "mykeys").code)
	r := add("1234 --keytab both.keytab --principal afs/klog.test --ring mykeys")
	require.Zero(t, r.code, "%s", r.err)
	require.Regexp(t, `^(\d+\n)+$`, r.out)
	keys := s.keyLines("mykeys")
	require.Len(t, keys, strings.Count(r.out, "\n"))
	for _, l := range keys {
		assert.Regexp(t, `^1234:2:\d+:\d+$`, l.Description)
	}
	l, at := s.echo("1234", "--keyring", "mykeys", "--level", "crypt")
	require.Zero(t, s.klogs(k, klogPassword, "--password", "joe", "--cell", "klog.test", "--bus").code)
	assert.Equal(t, "hello\n", s.ok("rx", "call", at, "1234", "hello", "--key", "afs@klog.test", "--level", "crypt"))
	l.expect(`service 1234 .* joe@KLOG.TEST .*"hello" → 5 bytes`)
}
