package tlsstream

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"syscall"
)

// Verify says how strictly a client looks at the server's certificate. The
// names are those of Samba's "tls verify peer".
type Verify int

const (
	// CAAndName: it must come from a trusted authority, and be for PeerName, which
	// may be an IP address. This is what crypto/tls does by itself.
	CAAndName Verify = iota
	// AsStrictAsPossible is CAAndName with at least TLS 1.2, and each certificate
	// below the authority must be covered by one of Config.CRLs that is up to date. It may
	// become stricter.
	AsStrictAsPossible
	// CAAndNameIfAvailable is CAAndName, or CAOnly if PeerName is empty or an IP
	// address.
	CAAndNameIfAvailable
	// CAOnly: it must come from a trusted authority, for whatever name.
	CAOnly
	// NoCheck: anybody will do.
	NoCheck
)

// Config is how TLS is done. It is not changed, and may be used again. A client
// may do without any but PeerName.
type Config struct {
	// TLS is what crypto/tls needs: certificates, RootCAs (nil: the system's),
	// versions, protocols. How the peer of a client is verified is up to the fields below: its
	// ServerName only stands in for an empty PeerName; its InsecureSkipVerify is ErrInvalid, for
	// that is said by NoCheck. A server verifies clients as its ClientAuth and ClientCAs say.
	TLS *tls.Config

	// PeerName is the name of the server, for a client.
	PeerName string
	// Verify is how strictly a client verifies the server.
	Verify Verify
	// CRLs are lists of certificates that were revoked, for clients and servers.
	// A list counts if the authority that issued the certificate signed it. One that is out of date
	// refuses all certificates of that authority.
	CRLs []*x509.RevocationList

	// KeepPlain leaves the plain stream open and to its owner after Disconnect
	// and after Close. After Close it cannot be used, for nobody knows where the records end.
	KeepPlain bool
}

// bad is what is wrong with a Config.
func bad(what string) error { return &Error{syscall.EINVAL, errorText(what)} }

type errorText string

func (e errorText) Error() string { return string(e) }

// client returns the configuration of crypto/tls for a client.
func (c *Config) client() (*tls.Config, error) {
	t := c.clone()
	if t.InsecureSkipVerify {
		return nil, bad("InsecureSkipVerify is said by Verify: NoCheck")
	}
	name := c.PeerName
	if name == "" {
		name = t.ServerName
	}
	isIP := net.ParseIP(name) != nil
	check := verifier{roots: t.RootCAs, crls: c.CRLs, now: t.Time}
	switch c.Verify {
	case NoCheck, CAOnly:
	case CAAndNameIfAvailable:
		if !isIP {
			check.name = name
		}
	case AsStrictAsPossible:
		if len(c.CRLs) == 0 {
			return nil, bad("AsStrictAsPossible needs CRLs")
		}
		check.covered = true
		t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
		fallthrough
	case CAAndName:
		if name == "" {
			return nil, bad("PeerName is missing")
		}
		check.name = name
	default:
		return nil, bad("unknown level of verification")
	}
	t.ServerName = name
	t.InsecureSkipVerify = true // this package verifies
	if c.Verify != NoCheck {
		t.VerifyConnection = both(check.server, t.VerifyConnection)
	}
	return t, nil
}

// server returns the configuration of crypto/tls for a server, which stores the
// certificate that it shows in shown.
func (c *Config) server(shown *certificate) (*tls.Config, error) {
	t := c.clone()
	if len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return nil, bad("a server needs a certificate")
	}
	check := verifier{crls: c.CRLs, now: t.Time}
	own := func(t, given *tls.Config) {
		shown.watch(t)
		shareTickets(t, given)
		t.VerifyConnection = both(check.clientOf, t.VerifyConnection)
	}
	if choose := t.GetConfigForClient; choose != nil {
		t.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := choose(hello)
			if other == nil || err != nil {
				return other, err
			}
			t := other.Clone()
			own(t, other)
			return t, nil
		}
	}
	own(t, c.TLS)
	return t, nil
}

// shareTickets makes t, which is used for one connection, encrypt sessions with
// the keys of the configuration that it is a copy of, so that another connection can
// resume them.
func shareTickets(t, given *tls.Config) {
	if given != nil && t.WrapSession == nil && t.UnwrapSession == nil {
		t.WrapSession, t.UnwrapSession = given.EncryptTicket, given.DecryptTicket
	}
}

func (c *Config) clone() *tls.Config {
	if c.TLS == nil {
		return &tls.Config{}
	}
	return c.TLS.Clone()
}

// both calls first, and then second unless that is nil.
func both(first, second func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if err := first(s); err != nil || second == nil {
			return err
		}
		return second(s)
	}
}
