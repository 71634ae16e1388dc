package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// certificate returns one that is its own authority.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cert, roots := certificate(t, "lines.test")
	client, server := tsocket.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- serve(ctx, server, &tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	}()

	say := func(s *tsocket.Stream, line, want string) {
		_, err := s.Writev(ctx, []byte(line))
		require.NoError(t, err)
		got := make([]byte, len(want))
		_, err = s.Readv(ctx, got)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	say(client, "hello\n", "hello\n")
	say(client, "STARTTLS\n", "go ahead\n")
	s, err := tlsstream.Client(ctx, client, &tlsstream.Config{TLS: &tls.Config{RootCAs: roots}, PeerName: "lines.test"})
	require.NoError(t, err)
	say(s, "secret\n", "secret\n")
	say(s, "STARTTLS\n", "STARTTLS\n") // once is enough
	require.NoError(t, s.Disconnect(ctx))
	require.NoError(t, <-served)
}
