package tlsstream_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// Both ends have the same binding: the hash of the server's certificate, with
// the hash function of its signature (RFC 5929).
func TestChannelBinding(t *testing.T) {
	sha384 := ca.issue(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA384 }, "server.test")
	sha256Sum := func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	for name, test := range map[string]struct {
		cert tls.Certificate
		hash func([]byte) []byte
	}{
		"sha256": {serverCert, sha256Sum},
		"sha384": {sha384, func(b []byte) []byte { s := sha512.Sum384(b); return s[:] }},
	} {
		t.Run(name, func(t *testing.T) {
			other := ca.issue(nil, "other.test")
			for how, conf := range map[string]*tls.Config{
				"one certificate": {Certificates: []tls.Certificate{test.cert}},
				"several":         {Certificates: []tls.Certificate{other, test.cert}},
				"a function":      {GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &test.cert, nil }},
				"a function, which wins when there is a name": {
					Certificates:   []tls.Certificate{other},
					GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &test.cert, nil },
				},
				"another config": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
					return &tls.Config{Certificates: []tls.Certificate{test.cert}}, nil
				}},
			} {
				c, s := pipe(t)
				a, b, cerr, serr := handshake(t, c, s, clientConf, &tlsstream.Config{TLS: conf})
				require.NoError(t, cerr, how)
				require.NoError(t, serr, how)
				want := test.hash(test.cert.Certificate[0])
				for _, end := range []*tsocket.Stream{a, b} {
					got, err := tlsstream.ChannelBinding(end)
					require.NoError(t, err, how)
					assert.Equal(t, want, got, how)
				}
			}
		})
	}
	c, _ := pipe(t)
	_, err := tlsstream.ChannelBinding(c)
	require.Equal(t, syscall.EINVAL, tsocket.Errno(err))
}

// An Ed25519 signature has no hash function to use.
func TestChannelBindingUndefined(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	template := ca.template("ed25519")
	template.DNSNames = []string{"server.test"}
	template.IsCA, template.BasicConstraintsValid = true, true
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, key)
	require.NoError(t, err)
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c, s := pipe(t)
	a, b, cerr, serr := handshake(t, c, s, &tlsstream.Config{Verify: tlsstream.NoCheck},
		&tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	require.NoError(t, cerr)
	require.NoError(t, serr)
	for _, end := range []*tsocket.Stream{a, b} {
		_, err := tlsstream.ChannelBinding(end)
		require.Equal(t, syscall.EOPNOTSUPP, tsocket.Errno(err))
	}
}

// A resumed session has the binding of the first one.
func TestChannelBindingResumed(t *testing.T) {
	cc := &tlsstream.Config{TLS: clientConf.TLS.Clone(), PeerName: "server.test"}
	cc.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for _, resumed := range []bool{false, true} {
		c, s := pipe(t)
		a, b, cerr, serr := handshake(t, c, s, cc, serverConf)
		require.NoError(t, cerr)
		require.NoError(t, serr)
		move(t, b, a, "and a ticket") // it comes with the first data
		state, _ := tlsstream.State(a)
		require.Equal(t, resumed, state.DidResume)
		want := sha256.Sum256(serverCert.Certificate[0])
		for _, end := range []*tsocket.Stream{a, b} {
			got, err := tlsstream.ChannelBinding(end)
			require.NoError(t, err)
			require.Equal(t, want[:], got)
		}
	}
}
