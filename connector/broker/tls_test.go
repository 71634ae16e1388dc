package broker

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// TestTLSNeverFallsBackToTheAuthoritiesOfTheSystem: for crypto/tls no authorities are those of the system, and anybody can have a
// certificate of these.
func TestTLSNeverFallsBackToTheAuthoritiesOfTheSystem(t *testing.T) {
	_, err := (&TLSConfig{TLS: &tls.Config{}}).server()
	require.ErrorIs(t, err, connector.ErrInvalid)
	pool := x509.NewCertPool()
	for _, c := range []struct {
		name        string
		base, given *x509.CertPool
		own         bool // GetConfigForClient gives a configuration
		ok          bool
	}{
		{name: "none at all"},
		{name: "one without", own: true},
		{name: "one without, the base has some", base: pool, own: true},
		{name: "one with", given: pool, own: true, ok: true},
		{name: "none, the base has some", base: pool, ok: true},
	} {
		conf := &tls.Config{ClientCAs: c.base, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if !c.own {
				return nil, nil
			}
			return &tls.Config{ClientCAs: c.given}, nil
		}}
		server, err := (&TLSConfig{TLS: conf}).server()
		require.NoError(t, err, c.name)
		got, err := server.GetConfigForClient(&tls.ClientHelloInfo{})
		if !c.ok {
			assert.ErrorIs(t, err, connector.ErrInvalid, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		assert.Same(t, pool, got.ClientCAs, c.name)
		assert.Equal(t, tls.RequireAndVerifyClientCert, got.ClientAuth)
	}
}
