package natsbridge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

func writeFile(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// natsWith runs a NATS server with a configuration file as operators write it, and returns its address.
func natsWith(t testing.TB, config string) string {
	t.Helper()
	config += fmt.Sprintf("\nlisten: \"127.0.0.1:-1\"\nserver_name: test\njetstream { store_dir: %q }\n", t.TempDir())
	opts, err := server.ProcessConfigFile(writeFile(t, "nats.conf", []byte(config)))
	require.NoError(t, err)
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	require.True(t, s.ReadyForConnections(2*time.Minute))
	return s.Addr().(*net.TCPAddr).AddrPort().String()
}

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t}
	a.cert, a.key, a.file, _ = a.sign("authority", time.Hour)
	return a
}

// sign makes a certificate that counts for so long from now on; one with less than nothing has ended.
func (a *authority) sign(name string, valid time.Duration) (cert *x509.Certificate, key *ecdsa.PrivateKey, certFile, keyFile string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(a.t, err)
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(valid),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: a.cert == nil,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	require.NoError(a.t, err)
	cert, err = x509.ParseCertificate(der)
	require.NoError(a.t, err)
	k, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	return cert, key, writeFile(a.t, name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		writeFile(a.t, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k}))
}

// asHost is what the configurations of a host have in common.
func asHost(name, url string) *Config {
	return &Config{Host: name, URL: url, SameUsers: true, Lease: testLease, Log: quiet}
}

// works shows that a host's own bus does: an agent there is called.
func (h *host) works(t testing.TB, id cbid.ID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	agent, user := h.dial(t, "agent"), h.dial(t, "user")
	defer agent.Close()
	defer user.Close()
	require.NoError(t, agent.AddCallback(ctx, id, "own", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.NoError(t, d.Reply(ctx, []byte("yes")))
	})))
	ep, err := user.Endpoint(ctx)
	require.NoError(t, err)
	ev, err := ep.Call(ctx, connector.Message{ID: id}, connector.Dest{})
	require.NoError(t, err)
	assert.Equal(t, "yes", string(ev.Msg.Data))
}

// refusedHost is a host that is not let into the site: it is told why long before its patience ends, and serves its own.
func refusedHost(t testing.TB, cfg *Config, why string) {
	t.Helper()
	dir := t.TempDir()
	h := &host{path: filepath.Join(dir, "s")}
	var err error
	h.broker, err = broker.New(&broker.Config{Socket: h.path, HistoryDir: "-", Log: quiet, WillJoin: true, Drain: time.Second})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.broker.Serve(ctx) }()
	defer func() {
		stop()
		assert.NoError(t, <-served)
	}()
	patience, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	_, err = Join(patience, h.broker, cfg)
	require.Error(t, err)
	assert.Contains(t, strings.ToLower(err.Error()), why)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	var op *connector.OpError
	assert.ErrorAs(t, err, &op)
	assert.NotContains(t, err.Error(), "secret")
	h.works(t, cbid.Make(0x300, 1))
}

func TestTLSToNATS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	with := func(cert, key string) string {
		return "tls://" + natsWith(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, ca.file))
	}
	_, _, cert, key := ca.sign("server", time.Hour)
	url := with(cert, key)
	_, _, cert, key = ca.sign("broker", time.Hour)
	good := func(name string) *Config {
		c := asHost(name, url)
		c.CA, c.Cert, c.Key = ca.file, cert, key
		return c
	}
	a := startHost(t, good("one"), 0)
	defer a.stop()

	t.Run("no certificate", func(t *testing.T) {
		c := good("two")
		c.Cert, c.Key = "", ""
		refusedHost(t, c, "certificate required")
	})
	t.Run("an authority that the broker does not know", func(t *testing.T) {
		c := good("two")
		c.CA = other.file
		refusedHost(t, c, "unknown authority")
	})
	t.Run("an authority that the server does not know", func(t *testing.T) {
		c := good("two")
		_, _, c.Cert, c.Key = other.sign("stranger", time.Hour)
		refusedHost(t, c, "certificate")
	})
	t.Run("a certificate of the broker that has ended", func(t *testing.T) {
		c := good("two")
		_, _, c.Cert, c.Key = ca.sign("old", -time.Hour)
		refusedHost(t, c, "certificate")
	})
	t.Run("a certificate of the server that has ended", func(t *testing.T) {
		_, _, old, oldKey := ca.sign("server", -time.Hour)
		c := good("two")
		c.URL = with(old, oldKey)
		refusedHost(t, c, "expired")
	})
	t.Run("no file", func(t *testing.T) {
		c := good("two")
		c.CA = filepath.Join(t.TempDir(), "none.pem")
		refusedHost(t, c, "none.pem")
	})
	t.Run("none of TLS", func(t *testing.T) {
		c := good("two")
		c.URL = "tls://" + natsWith(t, "")
		refusedHost(t, c, "secure connection not available")
	})
	b := startHost(t, good("two"), 0)
	defer b.stop()
	sees(t, a, b, true)
}

// sees registers an id for the site on a, and asks for it on b.
func sees(t testing.TB, a, b *host, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if want {
		meet(t, a, b)
	}
	id := cbid.Make(0x400, 1)
	agent, user := a.dial(t, "agent"), b.dial(t, "user")
	defer agent.Close()
	defer user.Close()
	require.NoError(t, connector.AddSiteCallback(ctx, agent, id, "site", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.NoError(t, d.Reply(ctx, nil))
	}), connector.SiteOptions{}))
	ep, err := user.Endpoint(ctx)
	require.NoError(t, err)
	_, err = ep.Call(ctx, connector.Message{ID: id}, connector.Dest{})
	if want {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, connector.ErrNoID)
	}
}

// TestAccountsAreSitesOfTheirOwn: the same site's name and the same hosts' names in two accounts of one server are two sites, neither of
// which knows of the other. One is entered by user and password, the other by nkey.
func TestAccountsAreSitesOfTheirOwn(t *testing.T) {
	kp, err := nkeys.CreateUser()
	require.NoError(t, err)
	public, err := kp.PublicKey()
	require.NoError(t, err)
	seed, err := kp.Seed()
	require.NoError(t, err)
	url := "nats://" + natsWith(t, fmt.Sprintf(`accounts {
		A { jetstream: enabled, users: [{user: a, password: secret-a}] }
		B { jetstream: enabled, users: [{nkey: %s}] }
		C { users: [{user: c, password: secret-c}] }
		D { jetstream: enabled, users: [{user: d, password: secret-d, permissions: {publish: ["cnbus.>"], subscribe: ["cnbus.>", "_INBOX.>"]}}] }
		E { jetstream: enabled, users: [{user: e, password: secret-e, permissions: {subscribe: {deny: ["cnbus.main.all"]}}}] }
	}`, public))
	nkey, word := writeFile(t, "b.nk", seed), writeFile(t, "a.word", []byte("secret-a\n"))
	inA := func(name string) *Config {
		c := asHost(name, url)
		c.User, c.PasswordFile = "a", word
		return c
	}
	inB := func(name string) *Config {
		c := asHost(name, url)
		c.NKey = nkey
		return c
	}
	var a, b [2]*host
	for i, name := range []string{"one", "two"} {
		a[i], b[i] = startHost(t, inA(name), 0), startHost(t, inB(name), 0)
		defer a[i].stop()
		defer b[i].stop()
	}
	sees(t, a[0], a[1], true)
	sees(t, b[0], b[1], true)
	sees(t, a[0], b[1], false)
	sees(t, b[0], a[0], false)
	for _, h := range []*host{a[0], a[1], b[0], b[1]} {
		rows, err := h.bridge.Hosts(t.Context())
		require.NoError(t, err)
		assert.Len(t, rows, 2)
	}

	refused := func(name, user, password, why string) {
		t.Run(name, func(t *testing.T) {
			c := asHost("three", url)
			c.User, c.PasswordFile = user, writeFile(t, "word", []byte(password))
			refusedHost(t, c, why)
		})
	}
	refused("wrong password", "a", "secret-b", "authorization violation")
	refused("no such user", "nobody", "secret-a", "authorization violation")
	refused("an account without JetStream", "c", "secret-c", "jetstream not enabled for account")
	refused("no permission for the store", "d", "secret-d", "permissions violation")
	refused("no permission for the site", "e", "secret-e", "permissions violation")
	t.Run("in the URL", func(t *testing.T) {
		refusedHost(t, asHost("three", "nats://a:secret-b@"+url[len("nats://"):]), "authorization violation")
		h := startHost(t, asHost("three", "nats://a:secret-a@"+url[len("nats://"):]), 0)
		defer h.stop()
		sees(t, a[0], h, true)
	})
	t.Run("a key that nobody knows", func(t *testing.T) {
		kp, err := nkeys.CreateUser()
		require.NoError(t, err)
		seed, err := kp.Seed()
		require.NoError(t, err)
		c := asHost("three", url)
		c.NKey = writeFile(t, "x.nk", seed)
		refusedHost(t, c, "authorization violation")
	})
	t.Run("no key at all", func(t *testing.T) {
		c := asHost("three", url)
		c.NKey = word
		refusedHost(t, c, "a.word")
		c.NKey, c.User, c.PasswordFile = "", "a", word+".none"
		refusedHost(t, c, "a.word.none")
		refusedHost(t, asHost("three", url), "authorization violation")
		refusedHost(t, asHost("three", "http://a:secret@x"), "url 1 of nats")
		refusedHost(t, asHost("three", "nats://a:secret@x:no"), "url 1 of nats")
	})
}

// operator is who signs accounts and users where a server knows them by JWT.
type operator struct {
	t       testing.TB
	account nkeys.KeyPair
	config  string
}

func newOperator(t testing.TB) *operator {
	t.Helper()
	key := func(kp nkeys.KeyPair, err error) (nkeys.KeyPair, string) {
		require.NoError(t, err)
		public, err := kp.PublicKey()
		require.NoError(t, err)
		return kp, public
	}
	op, opID := key(nkeys.CreateOperator())
	_, sysID := key(nkeys.CreateAccount())
	account, accountID := key(nkeys.CreateAccount())
	sign := func(c jwt.Claims) string {
		s, err := c.Encode(op)
		require.NoError(t, err)
		return s
	}
	sys, own, claims := jwt.NewAccountClaims(sysID), jwt.NewAccountClaims(accountID), jwt.NewOperatorClaims(opID)
	own.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	claims.SystemAccount = sysID
	return &operator{t: t, account: account, config: fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload { %s: %s, %s: %s }\n",
		sign(claims), sysID, sysID, sign(sys), accountID, sign(own))}
}

// credentials are those of a new user that count for so long.
func (o *operator) credentials(valid time.Duration) []byte {
	o.t.Helper()
	kp, err := nkeys.CreateUser()
	require.NoError(o.t, err)
	public, err := kp.PublicKey()
	require.NoError(o.t, err)
	seed, err := kp.Seed()
	require.NoError(o.t, err)
	c := jwt.NewUserClaims(public)
	c.Expires = time.Now().Add(valid).Unix()
	token, err := c.Encode(o.account)
	require.NoError(o.t, err)
	creds, err := jwt.FormatUserConfig(token, seed)
	require.NoError(o.t, err)
	return creds
}

// logTo is a slog.Handler whose lines go to a channel, those that have no room nowhere.
type logTo chan string

func (logTo) Enabled(context.Context, slog.Level) bool { return true }
func (c logTo) WithAttrs([]slog.Attr) slog.Handler     { return c }
func (c logTo) WithGroup(string) slog.Handler          { return c }
func (c logTo) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	select {
	case c <- line:
	default:
	}
	return nil
}

// TestCredentialsFiles: and a host whose credentials end comes back when the file has others.
func TestCredentialsFiles(t *testing.T) {
	o := newOperator(t)
	url := "nats://" + natsWith(t, o.config)
	with := func(name string, creds []byte) *Config {
		c := asHost(name, url)
		c.Credentials = writeFile(t, "cnbus.creds", creds)
		return c
	}
	a := startHost(t, with("one", o.credentials(time.Hour)), 0)
	defer a.stop()
	refusedHost(t, with("two", o.credentials(-time.Hour)), "authorization violation")
	refusedHost(t, with("two", newOperator(t).credentials(time.Hour)), "authorization violation")
	refusedHost(t, with("two", []byte("nothing of the kind")), "cnbus.creds")

	c := with("two", o.credentials(time.Hour))
	told := make(chan string, 100)
	c.Log = slog.New(logTo(told))
	b := startHost(t, c, 0)
	defer b.stop()
	sees(t, a, b, true)
	// The next connection is one whose credentials end, however long what came before has taken.
	require.NoError(t, os.WriteFile(c.Credentials, o.credentials(4*time.Second), 0o600))
	require.NoError(t, b.bridge.nc.ForceReconnect())
	connected := func(want bool) {
		t.Helper()
		require.Eventually(t, func() bool { return b.bridge.nc.IsConnected() == want }, 2*time.Minute, 10*time.Millisecond)
	}
	connected(false)
	for patience := time.After(2 * time.Minute); ; {
		select {
		case line := <-told:
			if !strings.Contains(line, "does not take the connection back") {
				continue
			}
			assert.Contains(t, strings.ToLower(line), "auth")
		case <-patience:
			require.Fail(t, "the log does not say why the connection is not taken back")
		}
		break
	}
	assert.False(t, b.bridge.nc.IsClosed(), "it is tried again, however often it was refused")
	b.works(t, cbid.Make(0x300, 1))
	require.NoError(t, os.WriteFile(c.Credentials, o.credentials(time.Hour), 0o600))
	connected(true)
	require.Eventually(t, func() bool {
		rows, err := b.bridge.Hosts(t.Context())
		return err == nil && len(rows) == 2 && rows[0].State == "self" && rows[1].State == "reachable"
	}, 2*time.Minute, 20*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	bus, err := client.Dial(ctx, &client.Config{Socket: b.path, Name: "after", Logger: quiet, DialTimeout: 2 * time.Minute})
	require.NoError(t, err)
	defer bus.Close()
	require.NoError(t, connector.AddSiteCallback(ctx, bus, cbid.Make(0x400, 2), "after", connector.HandlerFunc(func(context.Context, *connector.Delivery) {}), connector.SiteOptions{}))
}
