package tlsstream

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"sync"

	// The hashes that certificates are signed with.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/cnbus/cnbus/tsocket"
)

// certificate is the one that a server shows, as crypto/tls does not tell.
type certificate struct {
	mu   sync.Mutex // guards cert
	cert *tls.Certificate
}

func (c *certificate) set(cert *tls.Certificate) {
	c.mu.Lock()
	c.cert = cert
	c.mu.Unlock()
}

// watch makes t choose its certificates as it did, and note which.
func (c *certificate) watch(t *tls.Config) {
	certs, get := t.Certificates, t.GetCertificate
	if len(certs) == 1 && get == nil {
		c.set(&certs[0]) // also when a session is resumed, and none is shown
	}
	t.Certificates = nil
	t.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(certs, get, hello)
		if err == nil {
			c.set(cert)
		}
		return cert, err
	}
}

// choose is how crypto/tls chooses.
func choose(certs []tls.Certificate, get func(*tls.ClientHelloInfo) (*tls.Certificate, error), hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if get != nil && (len(certs) == 0 || hello.ServerName != "") {
		if cert, err := get(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	for i := range certs {
		if hello.SupportsCertificate(&certs[i]) == nil {
			return &certs[i], nil
		}
	}
	if len(certs) == 0 {
		return nil, bad("there is no certificate for the client")
	}
	return &certs[0], nil
}

// leaf returns the certificate, nil if it is not known.
func (c *certificate) leaf() *x509.Certificate {
	c.mu.Lock()
	cert := c.cert
	c.mu.Unlock()
	if cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	if cert.Leaf != nil {
		return cert.Leaf
	}
	leaf, _ := x509.ParseCertificate(cert.Certificate[0])
	return leaf
}

// ChannelBinding returns the binding of s of the type tls-server-end-point
// (RFC 5929, section 4): the hash of the server's certificate, the same at both ends unless somebody
// sits in between. ErrInvalid if s is none of this package's; ErrNotSupported if the
// certificate is signed without a hash that could be used (Ed25519), or the session is a resumed one and the
// server has several certificates.
func ChannelBinding(s *tsocket.Stream) ([]byte, error) {
	const op = "channel binding"
	o, ok := s.Ops().(*ops)
	if !ok {
		return nil, &tsocket.OpError{Op: op, Err: tsocket.ErrInvalid}
	}
	cert := o.serverCert()
	if cert == nil {
		return nil, &tsocket.OpError{Op: op, Err: tsocket.ErrNotSupported}
	}
	hash := bindingHash(cert.SignatureAlgorithm)
	if hash == 0 {
		return nil, &tsocket.OpError{Op: op, Err: tsocket.ErrNotSupported}
	}
	h := hash.New()
	h.Write(cert.Raw)
	return h.Sum(nil), nil
}

// bindingHash: MD5 and SHA-1 are replaced by SHA-256, others are used as they are.
func bindingHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.DSAWithSHA256, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512
	}
	return 0
}
