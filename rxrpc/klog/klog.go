package klog

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Config says for which cell a ticket is wanted, by whom, and whom to ask. Of Password, Keytab and Cache at most one is set; without
// any it is the cache that KRB5CCNAME names, or the usual one.
type Config struct {
	Cell string // "example.com"

	// Principal is the user: "joe", "joe/admin", "joe@EXAMPLE.COM". Default: whose the cache is, or the keytab's first.
	// The realm's default is default_realm of krb5.conf, and without one the cell's name in capitals.
	Principal string

	Password string
	Keytab   string // path of a file, that only its owner may read
	Cache    string // path of a file, also with FILE: before it

	// ServiceRealm is the realm of the cell's servers. Default: see the package's comment.
	ServiceRealm string

	// Conf is the path of a krb5.conf. Default: what KRB5_CONFIG names, or /etc/krb5.conf; that one may be missing.
	Conf string
	// KDCs are asked, whatever the realm, in place of those of krb5.conf and DNS: "192.0.2.1:88".
	KDCs []string

	// Lifetime is what is asked for; default ticket_lifetime of krb5.conf, and a day without one. The KDC may give less.
	Lifetime time.Duration

	// Part asks for a token with the encrypted part of the ticket alone (rxkad.Kerberos5Part), which is shorter.
	Part bool
}

// A Credential is a token, and what is known of it. It prints without secrets.
type Credential struct {
	Token *rxkad.Token

	Cell       string
	Client     string // "joe@EXAMPLE.COM"
	Service    string // "afs/example.com@EXAMPLE.COM"
	EncType    int32  // of the ticket's own encryption
	SessionKey int32  // encryption type of the session key that the one of rxkad was made of

	Begins, Expires time.Time
}

// Get gets a token. Errors are *Error, and wrap a *KDCError if a KDC has said no, ENOENT for a missing file, EINVAL for a Config or
// a file that makes no sense, ETIMEDOUT if no KDC answered, or ctx's.
func Get(ctx context.Context, cfg Config) (*Credential, error) {
	s, err := open(cfg)
	if err != nil {
		return nil, err
	}
	defer s.wipe()
	return s.get(ctx)
}

// Description is how a key of the cell is called in keyrings: "afs@CELL".
func (c *Credential) Description() string { return Description(c.Cell) }

// Description is how a key of a cell is called in keyrings: "afs@CELL".
func Description(cell string) string { return "afs@" + cell }

// AppendPayload appends the payload of a key of type rxrpc (package keyring), in its XDR form. The session key is in
// it.
func (c *Credential) AppendPayload(b []byte) ([]byte, error) {
	return keyring.AppendXDR(b, c.Cell, keyring.Token{Token: c.Token, Primary: true})
}

// An Installer keeps keys: *keyring.Kernel, and File, are some.
type Installer interface {
	Add(typ keyring.Type, description string, payload []byte) error
}

// Install hands the credential to a keyring, as a key of type rxrpc with its Description.
func (c *Credential) Install(to Installer) error {
	b, err := c.AppendPayload(nil)
	defer clear(b)
	if err == nil {
		err = to.Add(keyring.TypeClient, c.Description(), b)
	}
	return fail("install", c.Description(), err)
}

// Wipe forgets the session key.
func (c *Credential) Wipe() { c.Token.Wipe() }

// String tells whose it is, for which service and until when; no part of the key.
func (c Credential) String() string {
	return fmt.Sprintf("%s for %s until %s", c.Client, c.Service, c.Expires.UTC().Format(time.RFC3339))
}

// Format prints String for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

func (cfg *Config) check() error {
	n := 0
	for _, s := range []string{cfg.Password, cfg.Keytab, cfg.Cache} {
		if s != "" {
			n++
		}
	}
	why := ""
	switch {
	case cfg.Cell == "" || len(cfg.Cell) > 64:
		why = "a cell's name has 1 to 64 characters"
	case strings.ContainsFunc(cfg.Cell, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' || r == '@' }):
		why = "that is no name of a cell"
	case n > 1:
		why = "one of password, keytab and credential cache, not more"
	case cfg.Password != "" && cfg.Principal == "":
		why = "a password needs the user's name"
	case cfg.Lifetime < 0:
		why = "a lifetime below nothing"
	}
	if why != "" {
		return fail("read the configuration for", cfg.Cell, fmt.Errorf("%s: %w", why, syscall.EINVAL))
	}
	return nil
}
