package broker

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/cnbus/cnbus/connector"
)

// CertRule says who a client is that comes over TLS, by the subject of its certificate. The first that matches
// counts; a client that none matches may not connect.
type CertRule struct {
	// Subject is the certificate's subject as RFC 2253 writes it, "CN=alice,O=Example", or "*" for any that the
	// authority has signed.
	Subject string `toml:"subject"`

	// Name is one of the certificate's names: a DNS name, a mail address or a URI. "" asks for none.
	Name string `toml:"name"`

	UID any `toml:"uid"` // name or number, or "self"
	GID any `toml:"gid"` // likewise; not given: that of the nobody that no group has

	uid, gid uint32
}

// nobodyGID is the gid of a TLS client whose rule gives none: no group has it.
const nobodyGID = 0xffffffff

func (p *Policy) compileCert(r *CertRule) error {
	if r.Subject == "" && r.Name == "" {
		return errors.New("matches nobody: give subject or name")
	}
	one := func(key string, v any, lookup func(string) (string, error)) (uint32, error) {
		nums, anyone, err := p.numbers([]any{v}, lookup)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", key, err)
		case anyone || len(nums) != 1:
			return 0, fmt.Errorf("%s: one is wanted", key)
		}
		return nums[0], nil
	}
	if r.UID == nil {
		return errors.New("uid is missing")
	}
	var err error
	if r.uid, err = one("uid", r.UID, lookupUser); err != nil {
		return err
	}
	if r.gid = nobodyGID; r.GID != nil {
		if r.gid, err = one("gid", r.GID, lookupGroup); err != nil {
			return err
		}
	}
	return nil
}

// Certificate returns the credentials of a client that has shown a certificate, which was verified; false if no rule
// is for it. The pid is 0.
func (p *Policy) Certificate(cert *x509.Certificate) (connector.Cred, bool) {
	for i := range p.Certificates {
		if r := &p.Certificates[i]; r.matches(cert) {
			return connector.Cred{UID: r.uid, GID: r.gid}, true
		}
	}
	return connector.Cred{}, false
}

func (r *CertRule) matches(cert *x509.Certificate) bool {
	if r.Subject != "" && r.Subject != "*" && r.Subject != cert.Subject.String() {
		return false
	}
	return r.Name == "" || slices.ContainsFunc(cert.DNSNames, func(n string) bool { return strings.EqualFold(n, r.Name) }) ||
		slices.Contains(cert.EmailAddresses, r.Name) ||
		slices.ContainsFunc(cert.URIs, func(u *url.URL) bool { return u.String() == r.Name })
}
