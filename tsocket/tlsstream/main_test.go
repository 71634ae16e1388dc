package tlsstream_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tlsstream"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var background = context.Background()

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func closeLater(t testing.TB, cs ...interface{ Close() error }) {
	t.Cleanup(func() {
		for _, c := range cs {
			_ = c.Close()
		}
	})
}

// authority issues certificates for tests.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	last  int64
	chain [][]byte // that goes with what it issues
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newAuthority(name string) *authority {
	a := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	template := asAuthority(a.template(name))
	a.cert = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key))))
	return a
}

// below returns an authority that a vouches for, and that says so.
func (a *authority) below(name string) *authority {
	b := &authority{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	der := must(x509.CreateCertificate(rand.Reader, asAuthority(a.template(name)), a.cert, b.key.Public(), a.key))
	b.cert, b.chain = must(x509.ParseCertificate(der)), [][]byte{der}
	return b
}

func asAuthority(c *x509.Certificate) *x509.Certificate {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return c
}

// unchained is c without the certificates of those who vouch for it.
func unchained(c tls.Certificate) tls.Certificate {
	c.Certificate = c.Certificate[:1]
	return c
}

// selfSigned returns a certificate that nobody else vouches for.
func selfSigned(name string) tls.Certificate {
	a := newAuthority(name)
	c := a.issue(nil, name)
	template := a.template(name)
	template.DNSNames, template.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key := c.PrivateKey.(*ecdsa.PrivateKey)
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

func (a *authority) template(name string) *x509.Certificate {
	a.last++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// issue returns a certificate for these names and addresses.
func (a *authority) issue(edit func(*x509.Certificate), names ...string) tls.Certificate {
	template := a.template("of " + names[0])
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	if edit != nil {
		edit(template)
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// crl returns a list that is valid for that long and revokes these.
func (a *authority) crl(valid time.Duration, revoked ...tls.Certificate) *x509.RevocationList {
	list := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(valid),
	}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	return must(x509.ParseRevocationList(must(x509.CreateRevocationList(rand.Reader, list, a.cert, a.key))))
}

var (
	ca         = newAuthority("test authority")
	serverCert = ca.issue(nil, "server.test", "192.0.2.1")
	serverConf = &tlsstream.Config{TLS: &tls.Config{Certificates: []tls.Certificate{serverCert}}}
	clientConf = &tlsstream.Config{TLS: &tls.Config{RootCAs: ca.pool()}, PeerName: "server.test"}
)

// handshake does both sides of a handshake.
func handshake(t testing.TB, c, s *tsocket.Stream, cc, sc *tlsstream.Config) (a, b *tsocket.Stream, cerr, serr error) {
	serving := tlsstream.ServerSend(soon(t), s, sc)
	a, cerr = tlsstream.Client(soon(t), c, cc)
	if cerr != nil {
		_ = c.Close()
	}
	b, serr = serving.Wait(soon(t))
	for _, x := range []*tsocket.Stream{a, b} {
		if x != nil {
			closeLater(t, x)
		}
	}
	return a, b, cerr, serr
}

// secure returns TLS over two connected streams.
func secure(t testing.TB, c, s *tsocket.Stream) (a, b *tsocket.Stream) {
	a, b, cerr, serr := handshake(t, c, s, clientConf, serverConf)
	require.NoError(t, cerr)
	require.NoError(t, serr)
	return a, b
}

func pipe(t testing.TB) (a, b *tsocket.Stream) {
	a, b = tsocket.Pipe()
	closeLater(t, a, b)
	return a, b
}

func tcp(t testing.TB) (a, b *tsocket.Stream) {
	l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	require.NoError(t, err)
	accepting := l.AcceptSend(t.Context())
	a, err = tsocket.DialTCP(t.Context(), tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	b, err = accepting.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	closeLater(t, a, b)
	return a, b
}

// move sends text from a to b.
func move(t testing.TB, a, b *tsocket.Stream, text string) {
	t.Helper()
	w := a.WritevSend(background, []byte(text))
	got := make([]byte, len(text))
	_, err := b.Readv(soon(t), got)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
}
