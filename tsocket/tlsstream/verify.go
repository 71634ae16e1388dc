package tlsstream

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"syscall"
	"time"
)

// verifier verifies the certificates of a peer.
type verifier struct {
	roots   *x509.CertPool
	name    string // "": any
	crls    []*x509.RevocationList
	covered bool // each certificate must be covered by a CRL
	now     func() time.Time
}

func (v verifier) time() time.Time {
	if v.now != nil {
		return v.now()
	}
	return time.Now()
}

// refused is the error of a certificate that is not accepted.
func refused(err error) error { return &Error{syscall.EINVAL, err} }

// server verifies the certificates of a server.
func (v verifier) server(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return refused(errorText("the server has no certificate"))
	}
	o := x509.VerifyOptions{
		Roots:         v.roots,
		DNSName:       v.name,
		CurrentTime:   v.time(),
		Intermediates: x509.NewCertPool(),
	}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := s.PeerCertificates[0].Verify(o)
	if err != nil {
		return refused(&tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err})
	}
	return v.anyUnrevoked(chains)
}

// clientOf looks whether the certificate of a client, which crypto/tls has verified, is
// revoked.
func (v verifier) clientOf(s tls.ConnectionState) error {
	if len(v.crls) == 0 || len(s.VerifiedChains) == 0 {
		return nil
	}
	return v.anyUnrevoked(s.VerifiedChains)
}

// anyUnrevoked returns nil if one of the chains has no revoked certificate.
func (v verifier) anyUnrevoked(chains [][]*x509.Certificate) error {
	var err error
	for _, chain := range chains {
		if err = v.unrevoked(chain); err == nil {
			return nil
		}
	}
	return refused(err)
}

func (v verifier) unrevoked(chain []*x509.Certificate) error {
	for i, cert := range chain[:len(chain)-1] {
		if err := v.look(cert, chain[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// look looks for cert in the lists of its issuer.
func (v verifier) look(cert, issuer *x509.Certificate) error {
	covered := false
	for _, crl := range v.crls {
		if !bytes.Equal(crl.RawIssuer, issuer.RawSubject) || crl.CheckSignatureFrom(issuer) != nil {
			continue
		}
		if now := v.time(); now.Before(crl.ThisUpdate) || !crl.NextUpdate.IsZero() && now.After(crl.NextUpdate) {
			return fmt.Errorf("the list of certificates revoked by %s is out of date", issuer.Subject)
		}
		covered = true
		for _, e := range crl.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return fmt.Errorf("certificate %s is revoked", cert.Subject)
			}
		}
	}
	if v.covered && !covered {
		return fmt.Errorf("no list of %s tells whether certificate %s is revoked", issuer.Subject, cert.Subject)
	}
	return nil
}
