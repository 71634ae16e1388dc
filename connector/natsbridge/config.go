package natsbridge

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// DefaultLease is how long a host counts after it was last heard of.
const DefaultLease = 15 * time.Second

// Config says how a broker joins a site.
type Config struct {
	// Host is the name of this host, 1 to 63 bytes, that no other host of the site has.
	Host string

	// Site is the name of the site; "" means "main". Letters, digits, - and _.
	Site string

	// URL is where NATS is: one or several URLs with commas between them.
	URL string

	// Server, if not nil, is the NATS server in this process; URL is not used then.
	Server *Embedded

	// Credentials is a file with NATS credentials; CA one with the certificates that sign those of the servers; Cert
	// and Key are those of this broker. "" means none.
	Credentials, CA, Cert, Key string

	// NKey is a file with the seed of an nkey, User a name whose password is the first line of PasswordFile. All files but
	// that of the NKey are read anew whenever the connection is. "" means none.
	NKey, User, PasswordFile string

	// Options are further ones for the connection.
	Options []nats.Option

	// Lease is how long a host counts after it was last heard of; all hosts of a site have the same. 0
	// means DefaultLease, the least is a second.
	Lease time.Duration

	// Replicas is how many servers of the cluster keep the site's store, 1 to 5. 0 means 3, or 1 where there are no three. A store that is on
	// fewer is brought to so many by who joins.
	Replicas int

	// SameUsers says that a uid of another host for which the broker's policy has no [[host]] is the same user here. Otherwise all users of other hosts
	// are nobody: uid and gid 65534, pid 0.
	SameUsers bool

	// SiteWide says which ids are registered for the site without the agent's asking; nil: none.
	SiteWide func(cbid.ID) bool

	// Local says which groups stay on their host; nil: those below 0x100, which are the kernel's, and those
	// of filters of process events for one host (procevent.StaysHome).
	Local func(group uint32) bool

	// Trying, if not nil, is told by Join why it has not come to an end yet, each time that something failed that
	// is tried again. It is called on Join's goroutine.
	Trying func(error)

	// Log receives what an operator wants to know; nil means slog.Default.
	Log *slog.Logger
}

var siteName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// Check returns what is wrong with c, and would be however often Join was tried.
func (c *Config) Check() error {
	d, err := c.withDefaults()
	if err == nil && d.Server == nil {
		err = checkURLs(d.URL)
	}
	return err
}

// withDefaults returns a copy of c with its defaults, or what is wrong with it.
func (c *Config) withDefaults() (*Config, error) {
	d := Config{}
	if c != nil {
		d = *c
	}
	if d.Site == "" {
		d.Site = "main"
	}
	if d.Lease == 0 {
		d.Lease = DefaultLease
	}
	if d.Local == nil {
		d.Local = staysHome
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	if d.Trying == nil {
		d.Trying = func(error) {}
	}
	switch {
	case len(d.Host) == 0 || len(d.Host) > MaxHostName || !printable([]byte(d.Host)):
		return nil, fmt.Errorf("the host's name %q must have 1 to %d characters: %w", d.Host, MaxHostName, connector.ErrInvalid)
	case !siteName.MatchString(d.Site):
		return nil, fmt.Errorf("the site's name %q may have letters, digits, - and _, at most 63: %w", d.Site, connector.ErrInvalid)
	case (d.User == "") != (d.PasswordFile == ""):
		return nil, fmt.Errorf("a user and a file with the password go together: %w", connector.ErrInvalid)
	case d.Replicas < 0 || d.Replicas > 5:
		return nil, fmt.Errorf("a store on %d servers, it may be 1 to 5: %w", d.Replicas, connector.ErrInvalid)
	case d.Lease < time.Second:
		return nil, fmt.Errorf("a lease of %v, the least is 1s: %w", d.Lease, connector.ErrInvalid)
	}
	return &d, nil
}

// staysHome reports whether a group is of one host alone: the kernel's, and those that the agent of process events
// numbers without the host (procevent: FirstFilterGroup to FirstSiteGroup).
func staysHome(group uint32) bool {
	return group < 0x100 || group >= 0x70000000 && group < 0x78000000
}

// nobody are the users of other hosts, where they are not the same.
func nobody() connector.Cred {
	return connector.Cred{UID: 65534, GID: 65534}
}

// newRun is a number that no other run of a broker has.
func newRun() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:]) | 1
}

// firstNumber is where the search for a host's number begins.
func firstNumber(name string) uint16 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return uint16(h.Sum32()%connector.MaxHost + 1)
}

var errSiteFull = errors.New("all 4095 host numbers of the site are taken")
