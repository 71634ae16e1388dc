package tlsstream_test

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

// The levels of verification, each against each kind of certificate.
func TestVerify(t *testing.T) {
	stranger := newAuthority("stranger")
	below := ca.below("authority below")
	expired := ca.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "server.test")
	otherUse := ca.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "server.test")
	certs := map[string]tls.Certificate{
		"good":     serverCert,
		"chain":    below.issue(nil, "server.test", "192.0.2.1"),
		"no chain": unchained(below.issue(nil, "server.test")),
		"self":     selfSigned("server.test"),
		"early":    ca.issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, "server.test"),
		"name":     ca.issue(nil, "other.test"),
		"stranger": stranger.issue(nil, "server.test"),
		"expired":  expired,
		"use":      otherUse,
	}
	crls := []*x509.RevocationList{ca.crl(time.Hour), below.crl(time.Hour)}
	all := slices.Collect(maps.Keys(certs))
	for _, test := range []struct {
		level    tlsstream.Verify
		name     string
		accepted []string
	}{
		{tlsstream.NoCheck, "", all},
		{tlsstream.NoCheck, "server.test", all},
		{tlsstream.CAOnly, "", []string{"good", "chain", "name"}},
		{tlsstream.CAOnly, "server.test", []string{"good", "chain", "name"}},
		{tlsstream.CAAndNameIfAvailable, "", []string{"good", "chain", "name"}},
		{tlsstream.CAAndNameIfAvailable, "192.0.2.9", []string{"good", "chain", "name"}},
		{tlsstream.CAAndNameIfAvailable, "server.test", []string{"good", "chain"}},
		{tlsstream.CAAndName, "server.test", []string{"good", "chain"}},
		{tlsstream.CAAndName, "192.0.2.1", []string{"good", "chain"}},
		{tlsstream.CAAndName, "192.0.2.9", nil},
		{tlsstream.AsStrictAsPossible, "server.test", []string{"good", "chain"}},
		{tlsstream.AsStrictAsPossible, "192.0.2.9", nil},
	} {
		for kind, cert := range certs {
			c, s := pipe(t)
			_, _, cerr, serr := handshake(t, c, s,
				&tlsstream.Config{TLS: &tls.Config{RootCAs: ca.pool()}, PeerName: test.name, Verify: test.level, CRLs: crls},
				&tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
			if slices.Contains(test.accepted, kind) {
				require.NoError(t, cerr, "%v %q %s", test.level, test.name, kind)
				require.NoError(t, serr)
				continue
			}
			require.Error(t, cerr, "%v %q %s", test.level, test.name, kind)
			require.Equal(t, syscall.EINVAL, tsocket.Errno(cerr), cerr)
			var refused *tls.CertificateVerificationError
			require.ErrorAs(t, cerr, &refused)
			var own *tlsstream.Error
			require.ErrorAs(t, cerr, &own)
			require.Equal(t, syscall.EIO, tsocket.Errno(serr), serr) // the client's alert
		}
	}
}

func TestCRL(t *testing.T) {
	revoked := ca.issue(nil, "server.test")
	other := newAuthority("test authority") // the same name, another key
	for name, test := range map[string]struct {
		level    tlsstream.Verify
		crls     []*x509.RevocationList
		good     bool
		revokedX bool
	}{
		"revoked":                 {tlsstream.CAAndName, []*x509.RevocationList{ca.crl(time.Hour, revoked)}, true, false},
		"revoked, any name":       {tlsstream.CAOnly, []*x509.RevocationList{ca.crl(time.Hour, revoked)}, true, false},
		"nobody is revoked":       {tlsstream.AsStrictAsPossible, []*x509.RevocationList{ca.crl(time.Hour)}, true, true},
		"out of date":             {tlsstream.CAAndName, []*x509.RevocationList{ca.crl(-time.Minute)}, false, false},
		"somebody else's":         {tlsstream.CAAndName, []*x509.RevocationList{other.crl(time.Hour, revoked)}, true, true},
		"somebody else's, strict": {tlsstream.AsStrictAsPossible, []*x509.RevocationList{other.crl(time.Hour)}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for cert, want := range map[*tls.Certificate]bool{&serverCert: test.good, &revoked: test.revokedX} {
				c, s := pipe(t)
				_, _, cerr, _ := handshake(t, c, s,
					&tlsstream.Config{TLS: clientConf.TLS, PeerName: "server.test", Verify: test.level, CRLs: test.crls},
					&tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{*cert}}})
				if want {
					require.NoError(t, cerr)
				} else {
					require.Equal(t, syscall.EINVAL, tsocket.Errno(cerr), cerr)
				}
			}
		})
	}
}

// A server refuses clients that are revoked too; the client's first read tells.
func TestClientCertificate(t *testing.T) {
	good, revoked := ca.issue(nil, "a client"), ca.issue(nil, "a thief")
	sc := &tlsstream.Config{
		TLS: &tls.Config{
			Certificates: []tls.Certificate{serverCert}, ClientCAs: ca.pool(),
			ClientAuth: tls.RequireAndVerifyClientCert,
		},
		CRLs: []*x509.RevocationList{ca.crl(time.Hour, revoked)},
	}
	for cert, errno := range map[*tls.Certificate]syscall.Errno{&good: 0, &revoked: syscall.EINVAL, nil: syscall.EIO} {
		cc := &tlsstream.Config{TLS: clientConf.TLS.Clone(), PeerName: "server.test"}
		if cert != nil {
			cc.TLS.Certificates = []tls.Certificate{*cert}
		}
		c, s := pipe(t)
		a, b, cerr, serr := handshake(t, c, s, cc, sc)
		require.NoError(t, cerr)
		require.Equal(t, errno, tsocket.Errno(serr), serr)
		if serr == nil {
			move(t, a, b, "welcome")
			state, ok := tlsstream.State(b)
			require.True(t, ok)
			require.Equal(t, good.Leaf.Raw, state.PeerCertificates[0].Raw)
			continue
		}
		_, err := a.Readv(soon(t), make([]byte, 1))
		require.Equal(t, syscall.EIO, tsocket.Errno(err), err)
		require.ErrorContains(t, err, "remote error")
	}
}

// What is impossible is EINVAL, before anything is written.
func TestBadConfig(t *testing.T) {
	c, s := pipe(t)
	for name, err := range map[string]error{
		"no config":  second(tlsstream.Client(soon(t), c, nil)),
		"no name":    second(tlsstream.Client(soon(t), c, &tlsstream.Config{})),
		"no lists":   second(tlsstream.Client(soon(t), c, &tlsstream.Config{PeerName: "x", Verify: tlsstream.AsStrictAsPossible})),
		"level":      second(tlsstream.Client(soon(t), c, &tlsstream.Config{PeerName: "x", Verify: 77})),
		"insecure":   second(tlsstream.Client(soon(t), c, &tlsstream.Config{PeerName: "x", TLS: &tls.Config{InsecureSkipVerify: true}})),
		"no server":  second(tlsstream.Server(soon(t), c, nil)),
		"no request": second(tlsstream.ServerSend(soon(t), c, &tlsstream.Config{}).Wait(soon(t))),
	} {
		require.Error(t, err, name)
		require.Equal(t, syscall.EINVAL, tsocket.Errno(err), name)
	}
	n, err := s.PendingBytes()
	require.NoError(t, err)
	require.Zero(t, n)
	require.Nil(t, tlsstream.Plain(c))
	_, ok := tlsstream.State(c)
	require.False(t, ok)
}

func second[T any](_ T, err error) error { return err }
