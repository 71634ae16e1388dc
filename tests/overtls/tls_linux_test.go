package overtls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	n    int64
}

func newAuthority(t testing.TB) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	a := &authority{key: key, pool: x509.NewCertPool(), n: 1}
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) sign(t testing.TB, cn string, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.n++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: cn, Organization: []string{"Test"}}, DNSNames: names, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overTLS is a broker that is reached over TLS.
type overTLS struct {
	*inside
	ca *authority
}

func serveTLS(t testing.TB, cfg broker.Config, ca *authority) *overTLS {
	cfg.TLS = &broker.TLSConfig{Listen: "127.0.0.1:0", TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.sign(t, "broker", "bus.test")}, ClientCAs: ca.pool,
	}}
	return &overTLS{serve(t, cfg), ca}
}

// dial returns how a client with these certificates connects.
func (s *overTLS) dial(certs ...tls.Certificate) func(context.Context) (*tsocket.Stream, error) {
	return func(ctx context.Context) (*tsocket.Stream, error) {
		at, err := net.ResolveTCPAddr("tcp", s.TLSAddr())
		if err != nil {
			return nil, err
		}
		remote, err := tsocket.AddrFromNet(at)
		if err != nil {
			return nil, err
		}
		c, err := tsocket.DialTCP(ctx, tsocket.Addr{}, remote)
		if err != nil {
			return nil, err
		}
		_ = c.SetNoDelay(true) // or the handshake waits for delayed acknowledgements
		x, err := tlsstream.Client(ctx, c, &tlsstream.Config{TLS: &tls.Config{RootCAs: s.ca.pool, Certificates: certs}, PeerName: "bus.test"})
		if err != nil {
			_ = c.Close()
		}
		return x, err
	}
}

func (s *overTLS) config(certs ...tls.Certificate) *client.Config {
	return &client.Config{Name: "far", Stream: s.dial(certs...), Logger: slog.New(slog.DiscardHandler), DialTimeout: patience}
}

// users is a policy in which certificates make users.
const users = `
[[rule]]
uid = ["*"]
register = ["*"]
send = ["*"]
join = ["*"]
publish = ["*"]
unicast = true
[[certificate]]
subject = "CN=alice,O=Test"
uid = 4711
gid = 4712
[[certificate]]
name = "bob.test"
uid = 4713
`

func usersPolicy(t testing.TB) *broker.Policy {
	p, err := broker.ParsePolicy(users)
	require.NoError(t, err)
	return p
}

func TestTLSClientsAreWhomThePolicySaysByTheirCertificates(t *testing.T) {
	s := serveTLS(t, broker.Config{Policy: usersPolicy(t)}, newAuthority(t))
	defer s.stop()
	creds := make(chan connector.Cred, 10)
	agent := s.Bus(t, bustest.BusOptions{Name: "agent"})
	defer agent.Close()
	require.NoError(t, agent.AddCallback(within(t), echoID, "echo", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		creds <- d.From.Cred
		echo(ctx, d)
	})))
	for _, c := range []struct {
		cert tls.Certificate
		want connector.Cred
	}{
		{s.ca.sign(t, "alice"), connector.Cred{UID: 4711, GID: 4712}},
		{s.ca.sign(t, "somebody", "x.test", "BOB.test"), connector.Cred{UID: 4713, GID: 0xffffffff}},
	} {
		b, err := client.Dial(within(t), s.config(c.cert))
		require.NoError(t, err)
		e, err := b.Endpoint(within(t))
		require.NoError(t, err)
		require.Equal(t, "hello", call(t, e, echoID, "hello"))
		assert.Equal(t, c.want, <-creds)
		rows, err := b.Query(within(t), "conns")
		require.NoError(t, err)
		assert.Contains(t, string(rows), "127.0.0.1:")
		assert.Contains(t, string(rows), "O=Test")
		require.NoError(t, b.Close())
	}
}

func TestTLSClientsThatNobodyKnowsAreRefused(t *testing.T) {
	s := serveTLS(t, broker.Config{Policy: usersPolicy(t)}, newAuthority(t))
	defer s.stop()
	_, err := client.Dial(within(t), s.config(s.ca.sign(t, "mallory")))
	require.ErrorIs(t, err, connector.ErrPermission)
	require.ErrorContains(t, err, "CN=mallory,O=Test")
	_, err = client.Dial(within(t), s.config())
	require.Error(t, err, "without a certificate")
	_, err = client.Dial(within(t), s.config(newAuthority(t).sign(t, "alice")))
	require.Error(t, err, "of another authority")
	c, err := net.Dial("tcp", s.TLSAddr())
	require.NoError(t, err)
	_, err = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(2*time.Minute)))
	for b := make([]byte, 1000); err == nil; {
		_, err = c.Read(b)
	}
	require.NoError(t, c.Close())
	b, err := client.Dial(within(t), s.config(s.ca.sign(t, "alice")))
	require.NoError(t, err, "others are not harmed")
	require.NoError(t, b.Close())
}

// TestBusOverTLS: the promises hold over TLS as over a socket.
func TestBusOverTLS(t *testing.T) {
	ca := newAuthority(t)
	alice := ca.sign(t, "alice")
	caps := bustest.All()
	caps.Cred = false // they are the certificate's
	bustest.Run(t, bustest.Carrier{Name: "TLS", Caps: caps, New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		var cfg broker.Config
		if opt.Small {
			cfg.QueueBytes = 64 << 10
		}
		l := opt.Limits
		text := users + "[[limit]]\n"
		for name, n := range map[string]int{
			"registrations": l.Callbacks, "connections": l.Endpoints, "memberships": l.Memberships,
			"watches": max(l.Watches, l.Notifies), "follows": l.Follows,
		} {
			if n > 0 {
				text += fmt.Sprintf("%s = %d\n", name, n)
			}
		}
		var err error
		cfg.Policy, err = broker.ParsePolicy(text)
		require.NoError(t, err)
		return &tlsSite{serveTLS(t, cfg, ca), alice}
	}})
}

type tlsSite struct {
	*overTLS
	cert tls.Certificate
}

func (s *tlsSite) Bus(t testing.TB, opt bustest.BusOptions) connector.Bus {
	cfg := s.config(s.cert)
	cfg.Name = opt.Name
	b, err := client.Dial(within(t), cfg)
	require.NoError(t, err)
	return b
}

// TestTLSClientThatDoesNotReadHoldsUpNobody: what waits for it is the broker's, as with any other, and who need not wait does
// not.
func TestTLSClientThatDoesNotReadHoldsUpNobody(t *testing.T) {
	s := serveTLS(t, broker.Config{Policy: usersPolicy(t), QueueBytes: 64 << 10}, newAuthority(t))
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()
	b, err := client.Dial(within(t), s.config(s.ca.sign(t, "alice")))
	require.NoError(t, err)
	defer b.Close()
	stuck, err := b.Endpoint(within(t))
	require.NoError(t, err)
	require.NoError(t, stuck.Join(within(t), 9))
	other, err := b.Endpoint(within(t))
	require.NoError(t, err)
	require.NoError(t, other.Join(within(t), 9))
	agent := s.Bus(t, bustest.BusOptions{Name: "agent"})
	defer agent.Close()
	e, err := agent.Endpoint(within(t))
	require.NoError(t, err)
	m := connector.Message{ID: echoID, Data: make([]byte, 16000)}
	for i := range 2000 { // far more than the kernel's buffers take
		m.Seq = uint32(i)
		require.NoError(t, e.Send(within(t), m, connector.Dest{Group: 9}), "a message to a group does not wait")
		ev, err := other.Recv(within(t))
		require.NoError(t, err)
		if ev.Kind == connector.EventMessage {
			require.Equal(t, uint32(i), ev.Msg.Seq)
		}
	}
	var lost, got uint64
	for lost+got < 2000 {
		ev, err := stuck.Recv(within(t))
		require.NoError(t, err)
		if ev.Kind == connector.EventLost {
			lost += ev.Lost
		} else {
			got++
		}
	}
	assert.Positive(t, lost)
	assert.Positive(t, got)
	s.stop()
	stopped = true
}

func TestTLSConfigsThatCannotBe(t *testing.T) {
	ca := newAuthority(t)
	good := &tls.Config{Certificates: []tls.Certificate{ca.sign(t, "broker")}, ClientCAs: ca.pool}
	for name, c := range map[string]*broker.TLSConfig{
		"nothing":        {},
		"no authorities": {Listen: "127.0.0.1:0", TLS: &tls.Config{Certificates: good.Certificates}},
		"no address":     {TLS: good},
		"a name":         {Listen: "localhost:1", TLS: good},
	} {
		_, err := broker.New(&broker.Config{Socket: t.TempDir() + "/s", HistoryDir: "-", TLS: c, Log: slog.New(slog.DiscardHandler)})
		require.ErrorIs(t, err, connector.ErrInvalid, name)
	}
	for text, why := range map[string]string{
		"uid = 1":                      "matches nobody",
		"subject = \"*\"":              "uid is missing",
		"subject = \"*\"\nuid = \"*\"": "one is wanted",
		"name = \"x\"\nuid = -1":       "no uid",
	} {
		_, err := broker.ParsePolicy("[[rule]]\nuid = [0]\n[[certificate]]\n" + text)
		require.ErrorContains(t, err, "certificate 1", text)
		require.ErrorContains(t, err, why, text)
	}
}
