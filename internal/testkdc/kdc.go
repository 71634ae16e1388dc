package testkdc

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cnbus/cnbus/internal/testenv"
)

// patience is how long is waited for what must come.
const patience = 60 * time.Second

// A KDC is a running one.
type KDC struct {
	Realm string
	Addr  string // UDP and TCP
	Conf  string // path of a krb5.conf that names it, and those of Trust

	dir string
	env []string
	n   int
}

// Start starts a KDC of a realm that nobody is in yet, and ends it with the test. The test is skipped if there is none
// on this machine.
func Start(t testing.TB, realm string) *KDC {
	t.Helper()
	for _, p := range []string{"krb5kdc", "kdb5_util", "kadmin.local"} {
		if _, err := program(p); err != nil {
			testenv.Skip(t, "no "+p+": packages krb5-kdc and krb5-admin-server")
		}
	}
	k := &KDC{Realm: realm, dir: t.TempDir()}
	k.Addr = freeAddr(t)
	k.Conf = k.path("krb5.conf")
	k.write(t, "krb5.conf", k.conf(k))
	k.write(t, "kdc.conf", fmt.Sprintf(`[kdcdefaults]
 kdc_listen = %[1]s
 kdc_tcp_listen = %[1]s
[realms]
 %[2]s = {
  database_name = %[3]s/principal
  key_stash_file = %[3]s/stash
  acl_file = %[3]s/acl
  max_life = 10h
  max_renewable_life = 7d
  master_key_type = aes256-cts-hmac-sha1-96
  supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha1-96:normal
 }
[logging]
 kdc = FILE:%[3]s/kdc.log
 default = FILE:%[3]s/kadmin.log
`, k.Addr, realm, k.dir))
	k.env = append(os.Environ(), "KRB5_CONFIG="+k.Conf, "KRB5_KDC_PROFILE="+k.path("kdc.conf"), "KRB5CCNAME=", "LC_ALL=C")
	k.run(t, "", "kdb5_util", "create", "-r", realm, "-s", "-P", "of the test")
	k.start(t)
	return k
}

func (k *KDC) path(name string) string { return filepath.Join(k.dir, name) }

func (k *KDC) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(k.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k *KDC) conf(all ...*KDC) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n[realms]\n", k.Realm)
	for _, o := range all {
		fmt.Fprintf(&b, " %s = {\n  kdc = %s\n }\n", o.Realm, o.Addr)
	}
	return b.String()
}

// start runs the server until the test ends.
func (k *KDC) start(t testing.TB) {
	t.Helper()
	path, _ := program("krb5kdc")
	cmd := exec.Command(path, "-n", "-r", k.Realm)
	cmd.Env = k.env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for end := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", k.Addr)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("krb5kdc has ended: %s%s", said.Bytes(), k.Log())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("krb5kdc does not serve at %s: %v\n%s", k.Addr, err, k.Log())
		}
	}
}

// Log is what the server has written down.
func (k *KDC) Log() string {
	b, _ := os.ReadFile(k.path("kdc.log"))
	return string(b)
}

// AddUser makes a principal with a password.
func (k *KDC) AddUser(t testing.TB, name, password string, options ...string) {
	t.Helper()
	k.admin(t, append(append([]string{"add_principal"}, options...), "-pw", password, name)...)
}

// AddService makes a principal with a random key, and returns the path of a keytab that has it.
func (k *KDC) AddService(t testing.TB, name string) string {
	t.Helper()
	k.admin(t, "add_principal", "-randkey", name)
	k.n++
	keytab := k.path(fmt.Sprintf("keytab-%d", k.n))
	k.admin(t, "ktadd", "-norandkey", "-k", keytab, name)
	return keytab
}

// Modify changes a principal.
func (k *KDC) Modify(t testing.TB, name string, options ...string) {
	t.Helper()
	k.admin(t, append(append([]string{"modify_principal"}, options...), name)...)
}

// Trust has users of this realm get tickets for services of another, and k.Conf name both.
func (k *KDC) Trust(t testing.TB, other *KDC) {
	t.Helper()
	name := "krbtgt/" + other.Realm + "@" + k.Realm
	k.AddUser(t, name, "between the two")
	other.AddUser(t, name, "between the two")
	k.write(t, "krb5.conf", k.conf(k, other))
}

// Init fills a new credential cache with a user's ticket, as kinit does, and returns its path.
func (k *KDC) Init(t testing.TB, name, password string, options ...string) string {
	t.Helper()
	if _, err := program("kinit"); err != nil {
		testenv.Skip(t, "no kinit: package krb5-user")
	}
	k.n++
	cache := k.path(fmt.Sprintf("cache-%d", k.n))
	k.run(t, password+"\n", "kinit", append(append([]string{"-c", cache}, options...), name)...)
	return cache
}

func (k *KDC) admin(t testing.TB, words ...string) {
	t.Helper()
	for i, w := range words {
		words[i] = `"` + w + `"`
	}
	k.run(t, "", "kadmin.local", "-r", k.Realm, "-q", strings.Join(words, " "))
}

func (k *KDC) run(t testing.TB, in, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	path, err := program(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdin = k.env, strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	// kadmin.local says that it has failed by words alone.
	if err != nil || name == "kadmin.local" && bytes.Contains(out, []byte(" while ")) {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// program finds what users do not always have in their path.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

// freeAddr is an address at which nobody listens, neither by TCP nor by UDP, nor will: who asks for any port, or connects,
// meanwhile gets one of 127.0.0.1.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", rand.IntN(256), rand.IntN(256), 2+rand.IntN(253)))
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		_ = l.Close()
		if u, err := net.ListenPacket("udp", addr); err == nil {
			_ = u.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
