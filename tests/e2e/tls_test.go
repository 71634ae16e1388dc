//go:build linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certifier writes certificates that one authority has signed.
type certifier struct {
	s    *site
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCertifier(s *site, ca string) *certifier {
	c := &certifier{s: s}
	c.write(ca, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, "authority")
	return c
}

func (c *certifier) write(name string, template *x509.Certificate, cn string) {
	t := c.s.t
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.Subject, template.NotAfter = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: cn}, time.Now().Add(time.Hour)
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	parent, by := c.cert, c.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	require.NoError(t, err)
	if c.cert == nil {
		c.key = key
		c.cert, err = x509.ParseCertificate(der)
		require.NoError(t, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	c.s.file(name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	c.s.file(name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

const tlsPolicy = `
[[rule]]
uid = ["self"]
admin = true
[[rule]]
name = "alice"
uid = [4711]
send = ["*"]
[[certificate]]
subject = "CN=alice"
uid = 4711
`

// From certificates to a call, as docs/commands.md shows it.
func TestClientsOnOtherMachinesAreServedOverTLS(t *testing.T) {
	s := newSite(t)
	ca := newCertifier(s, "site")
	ca.write("broker", &x509.Certificate{}, "broker")
	ca.write("alice", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "alice")
	ca.write("mallory", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "mallory")
	b := s.start("cnbus", "serve", "--no-proc", "--no-sock", "--no-rx", "--listen-tls", "127.0.0.1:0", "--cert", "broker.pem", "--key", "broker.key",
		"--client-ca", "site.pem", "--policy", s.file("policy.toml", tlsPolicy))
	at := b.expect(`^serving .* and TLS at (127\.0\.0\.1:\d+);`)[1]
	listen := s.start("cnbus", "listen", "--id", "0x123:1", "--reply", "here", "--json")
	s.eventuallyListed("0x123:1")

	as := func(who string, args ...string) result {
		c := s.command("cnbus", append([]string{"--socket", "tls://" + at}, args...)...)
		c.Env = append(c.Env, "CNBUS_TLS_CERT="+who+".pem", "CNBUS_TLS_KEY="+who+".key", "CNBUS_TLS_CA=site.pem")
		return s.runCmd(c)
	}
	r := as("alice", "call", "0x123:1", "hello")
	require.Zero(t, r.code, r.err)
	assert.Contains(t, r.out, "here")
	listen.expect(`"uid":4711`)
	assert.Contains(t, as("alice", "policy", "show").out, "alice")
	assert.Equal(t, 1, as("alice", "listen", "--id", "0x124:1").code, "her rule does not let her register")

	r = as("mallory", "ls")
	assert.Equal(t, 1, r.code)
	assert.Contains(t, r.err, "CN=mallory")
	assert.Equal(t, 1, as("nobody", "ls").code)

	// Other certificates count from SIGHUP on.
	other := newCertifier(s, "site")
	other.write("broker", &x509.Certificate{}, "broker")
	b.signal(syscall.SIGHUP)
	b.expect("policy reloaded")
	assert.Equal(t, 1, as("alice", "ls").code, "of another authority now")
	other.write("alice", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, "alice")
	r = as("alice", "ls")
	assert.Zero(t, r.code, r.err)

	for _, args := range [][]string{{"--listen-tls", "127.0.0.1:0"}, {"--cert", "broker.pem"}} {
		assert.Equal(t, 2, s.run("cnbus", append([]string{"serve", "--socket", "other.sock"}, args...)...).code)
	}
}

// eventuallyListed waits until the id is registered.
func (s *site) eventuallyListed(id string) {
	s.t.Helper()
	w := s.start("cnbus", "watch", "--json", id)
	w.expect(`"change":"(present|added)"`)
	w.end(syscall.SIGTERM)
}
