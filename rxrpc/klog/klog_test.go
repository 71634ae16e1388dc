package klog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const (
	cell     = "klog.test"
	realm    = "KLOG.TEST"
	password = "correct horse"
)

// greeter is a service that says who calls; its keys are in a keytab.
func greeter(t *testing.T, keytab string) netip.AddrPort {
	t.Helper()
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	security := rxkad.NewServer(rxkad.ServerConfig{Keys: keyring.Keytab(keytab), MinLevel: rxkad.Encrypt})
	s := rxrpc.NewServer(e, &rxrpc.ServerConfig{Security: []rxrpc.ServerSecurity{security}, Secured: true})
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Handle(1, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
		id := call.Security().Peer.(*rxkad.Identity)
		return fmt.Appendf(dst, "%v %v", id, id.Level), nil
	})))
	return e.LocalAddr()
}

// greet calls it.
func greet(t *testing.T, at netip.AddrPort, c *Credential) string {
	t.Helper()
	security, err := rxkad.NewClient(c.Token, rxkad.Encrypt)
	require.NoError(t, err)
	return call(t, at, security)
}

func call(t *testing.T, at netip.AddrPort, security rxrpc.ClientSecurity) string {
	t.Helper()
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	reply, err := e.Client(at, &rxrpc.ClientConfig{Security: security}).Call(ctx, 1, []byte("who am I?"))
	require.NoError(t, err)
	return string(reply)
}

// TestTickets: each way to show who one is gets a token that a server with the service's keytab takes.
func TestTickets(t *testing.T) {
	k := testkdc.Start(t, realm)
	k.AddUser(t, "joe", password)
	k.AddUser(t, "lax", password, "-requires_preauth")
	k.AddUser(t, "strict", password, "+requires_preauth")
	strict := k.AddService(t, "robot/admin")
	k.Modify(t, "robot/admin", "+requires_preauth")
	at := greeter(t, k.AddService(t, "afs/"+cell))

	for _, c := range []struct {
		name, who string
		cfg       Config
	}{
		{"password", "joe@" + cell, Config{Principal: "joe", Password: password}},
		{"no preauthentication", "lax@" + cell, Config{Principal: "lax@" + realm, Password: password}},
		{"preauthentication", "strict@" + cell, Config{Principal: "strict", Password: password}},
		{"keytab", "robot.admin@" + cell, Config{Keytab: strict}},
		{"keytab, named", "robot.admin@" + cell, Config{Keytab: strict, Principal: "robot/admin"}},
		{"cache", "joe@" + cell, Config{Cache: "FILE:" + k.Init(t, "joe", password)}},
		{"part", "joe@" + cell, Config{Principal: "joe", Password: password, Part: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Cell, c.cfg.Conf = cell, k.Conf
			cred, err := Get(t.Context(), c.cfg)
			require.NoError(t, err)
			defer cred.Wipe()
			assert.Equal(t, strings.ToLower(c.who)+" encrypt", strings.ToLower(greet(t, at, cred)))
			assert.Equal(t, "afs/"+cell+"@"+realm, cred.Service)
			assert.EqualValues(t, 18, cred.EncType)
			assert.WithinDuration(t, time.Now().Add(10*time.Hour), cred.Expires, time.Minute)
			assert.EqualValues(t, cred.Expires.Unix(), cred.Token.Expires)
			kind := rxkad.Kerberos5
			if c.cfg.Part {
				kind = rxkad.Kerberos5Part
			}
			assert.Equal(t, kind, cred.Token.Version)
			assert.Contains(t, fmt.Sprintf("%v %+v", cred, *cred), "for afs/"+cell+"@"+realm+" until ")
		})
	}

	t.Run("lifetime", func(t *testing.T) {
		cred, err := Get(t.Context(), Config{Cell: cell, Conf: k.Conf, Principal: "joe", Password: password, Lifetime: time.Hour})
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now().Add(time.Hour), cred.Expires, time.Minute)
	})
	t.Run("no krb5.conf", func(t *testing.T) {
		t.Setenv("KRB5_CONFIG", filepath.Join(t.TempDir(), "empty"))
		require.NoError(t, os.WriteFile(os.Getenv("KRB5_CONFIG"), nil, 0o600))
		cred, err := Get(t.Context(), Config{Cell: cell, KDCs: []string{k.Addr}, Principal: "joe", Password: password})
		require.NoError(t, err)
		assert.Equal(t, "joe@"+realm, cred.Client)
	})
	t.Run("refused", func(t *testing.T) { refusals(t, k) })
}

// refusals: what goes wrong is said.
func refusals(t *testing.T, k *testkdc.KDC) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0") // nobody reads
	require.NoError(t, err)
	defer silent.Close()
	short := k.Init(t, "joe", password, "-l", "1s")
	strange := filepath.Join(t.TempDir(), "strange")
	require.NoError(t, os.WriteFile(strange, []byte("\x05\x04nonsense"), 0o600))
	readable := filepath.Join(t.TempDir(), "readable")
	require.NoError(t, os.WriteFile(readable, []byte("\x05\x02"), 0o644))
	for _, c := range []struct {
		name, want string
		errno      syscall.Errno
		cfg        Config
	}{
		{"wrong password", "wrong password or key", syscall.EACCES, Config{Principal: "strict", Password: "wrong"}},
		{"wrong password, found out here", "password or key is wrong", syscall.EACCES, Config{Principal: "lax", Password: "wrong"}},
		{"unknown user", "no such user", syscall.ENOENT, Config{Principal: "nobody", Password: password}},
		{"unknown cell", "no such service", syscall.ENOENT, Config{Cell: "other.test", ServiceRealm: realm, Principal: "joe", Password: password}},
		{"unknown realm", "krb5.conf has no KDC of NOWHERE", syscall.ENOENT, Config{Principal: "joe@NOWHERE", Password: password}},
		{"no KDC", "no KDC of " + realm + " answers", syscall.ETIMEDOUT, Config{Principal: "joe", Password: password, KDCs: []string{"127.0.0.1:1"}}},
		{"no file", "no such file", syscall.ENOENT, Config{Cache: filepath.Join(t.TempDir(), "none")}},
		{"other cache", "only credential caches that are files", syscall.ENOTSUP, Config{Cache: "KEYRING:persistent:0"}},
		{"other user's cache", "it is joe@" + realm + "'s", syscall.EACCES, Config{Cache: short, Principal: "ann"}},
		{"not a cache", "not a credential cache", syscall.EINVAL, Config{Cache: strange}},
		{"keytab for all", "others than its owner", syscall.EACCES, Config{Keytab: readable}},
		{"no user", "needs the user's name", syscall.EINVAL, Config{Password: password}},
		{"two ways", "not more", syscall.EINVAL, Config{Principal: "joe", Password: password, Keytab: strange}},
		{"no cell", "a cell's name", syscall.EINVAL, Config{Cell: strings.Repeat("x", 65)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Conf = k.Conf
			if c.cfg.Cell == "" {
				c.cfg.Cell = cell
			}
			_, err := Get(t.Context(), c.cfg)
			require.ErrorContains(t, err, c.want)
			assert.ErrorIs(t, err, c.errno)
			assert.NotContains(t, err.Error(), password)
		})
	}
	t.Run("expired", func(t *testing.T) {
		s, err := open(Config{Cell: cell, Conf: k.Conf, Cache: short})
		require.NoError(t, err)
		s.now = func() time.Time { return time.Now().Add(time.Minute) }
		_, err = s.get(t.Context())
		require.ErrorContains(t, err, "has expired")
	})
	t.Run("nobody answers", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := Get(ctx, Config{Cell: cell, Principal: "joe", Password: password, Conf: k.Conf, KDCs: []string{silent.LocalAddr().String()}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// TestOldService: cells whose service is called afs@REALM.
func TestOldService(t *testing.T) {
	k := testkdc.Start(t, realm)
	k.AddUser(t, "joe", password)
	at := greeter(t, k.AddService(t, "afs"))
	cred, err := Get(t.Context(), Config{Cell: cell, Conf: k.Conf, Principal: "joe", Password: password})
	require.NoError(t, err)
	assert.Equal(t, "afs@"+realm, cred.Service)
	assert.Contains(t, greet(t, at, cred), "joe")
}

// TestOtherRealm: a user of one realm and a cell of another.
func TestOtherRealm(t *testing.T) {
	home, away := testkdc.Start(t, "HOME.TEST"), testkdc.Start(t, realm)
	home.Trust(t, away)
	home.AddUser(t, "joe", password)
	at := greeter(t, away.AddService(t, "afs/"+cell))
	cred, err := Get(t.Context(), Config{Cell: cell, Conf: home.Conf, Principal: "joe", Password: password})
	require.NoError(t, err)
	assert.Equal(t, "joe@HOME.TEST", cred.Client)
	assert.Equal(t, "afs/"+cell+"@"+realm, cred.Service)
	assert.Contains(t, strings.ToLower(greet(t, at, cred)), "joe@home.test")
}

// TestRenewal: half way through its life a ticket of a cache is renewed, and one of a password got anew.
func TestRenewal(t *testing.T) {
	k := testkdc.Start(t, realm)
	k.AddUser(t, "joe", password)
	k.AddService(t, "afs/"+cell)
	later := func() time.Time { return time.Now().Add(40 * time.Minute) }
	for name, cfg := range map[string]Config{
		"cache":    {Cache: k.Init(t, "joe", password, "-l", "1h", "-r", "1d")},
		"password": {Principal: "joe", Password: password, Lifetime: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Cell, cfg.Conf = cell, k.Conf
			s, err := open(cfg)
			require.NoError(t, err)
			defer s.wipe()
			_, err = s.get(t.Context())
			require.NoError(t, err)
			old := s.home
			_, err = s.get(t.Context())
			require.NoError(t, err)
			assert.Same(t, old, s.home, "as long as it is young")
			s.now = later
			cred, err := s.get(t.Context())
			require.NoError(t, err)
			assert.NotSame(t, old, s.home)
			assert.Zero(t, old.key.KeyValue[0]|old.key.KeyValue[1]|old.key.KeyValue[2], "wiped")
			assert.True(t, cred.Expires.After(later()))
		})
	}
}

// TestInstall: what is installed in a file is found by a keyring, and serves.
func TestInstall(t *testing.T) {
	k := testkdc.Start(t, realm)
	k.AddUser(t, "joe", password)
	at := greeter(t, k.AddService(t, "afs/"+cell))
	cred, err := Get(t.Context(), Config{Cell: cell, Conf: k.Conf, Principal: "joe", Password: password})
	require.NoError(t, err)
	file := File(filepath.Join(t.TempDir(), "key"))
	_, err = file.Request(keyring.TypeClient, cred.Description())
	require.ErrorIs(t, err, keyring.ErrNoKey)
	require.NoError(t, cred.Install(file))
	require.NoError(t, cred.Install(file), "again")

	store := keyring.New(keyring.Config{Sources: []keyring.Source{file}})
	me := keyring.Cred{UID: 1000}
	me.Ring, err = store.NewKeyring(me, "mine")
	require.NoError(t, err)
	id, err := store.Request(me, keyring.TypeClient, "afs@"+cell, 0)
	require.NoError(t, err)
	security, err := store.Client(me, id, rxkad.Encrypt)
	require.NoError(t, err)
	assert.Contains(t, call(t, at, security), "joe")

	_, err = file.Request(keyring.TypeClient, "afs@other.test")
	require.ErrorIs(t, err, keyring.ErrNoKey)
	require.NoError(t, os.Chmod(string(file), 0o644))
	_, err = file.Request(keyring.TypeClient, cred.Description())
	require.ErrorIs(t, err, syscall.EACCES)
}
