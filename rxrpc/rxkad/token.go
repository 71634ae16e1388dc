package rxkad

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"
)

// Ticket versions with a meaning of their own; the others below 256 are the version of the key that a Kerberos 4
// ticket is encrypted with.
const (
	Kerberos5Part uint32 = 213 // an EncryptedData of Kerberos 5 ("2b")
	Kerberos5     uint32 = 256 // a whole Ticket of Kerberos 5
)

// Never is a time of a ticket that is unlimited, in unix seconds.
const Never = math.MaxUint32

// A Token is what a client proves itself with. It is not changed once it is in use.
type Token struct {
	Version uint32 // how the ticket is to be read: of its key, Kerberos5Part or Kerberos5
	Ticket  []byte // for the service
	Session Key    // 8 bytes
	Begins  uint32 // unix seconds; 0: always valid so far
	Expires uint32 // unix seconds; Never, and 0: does not
}

// Lengths of a ticket, in bytes: those that OpenAFS takes. Linux takes 4 to 1024, of Kerberos 4 only.
const (
	MinTicket = 32
	MaxTicket = 12000
)

// Valid returns an error if the token cannot be used at that time: Expired, NoAuth if it is not valid yet,
// BadKey and TicketLen if it never can.
func (t *Token) Valid(now time.Time) error {
	if _, ok := t.Session.eight(); !ok {
		return refuse(BadKey, "the session key of a token is not 8 bytes")
	}
	if len(t.Ticket) > MaxTicket {
		return refuse(TicketLen, "the ticket of a token is too long")
	}
	if t.expired(now) {
		return refuse(Expired, "the token has expired")
	}
	return nil
}

func (t *Token) expired(now time.Time) bool {
	return t.Expires != 0 && t.Expires != Never && now.Unix() >= int64(t.Expires)
}

// Wipe forgets the session key.
func (t *Token) Wipe() { t.Session.Wipe() }

// String tells the kind of the ticket, its length and when it expires; nothing of the session key.
func (t Token) String() string {
	kind := fmt.Sprintf("Kerberos 4, key version %d", t.Version)
	switch t.Version {
	case Kerberos5Part:
		kind = "Kerberos 5, encrypted part"
	case Kerberos5:
		kind = "Kerberos 5"
	}
	expires := "never expires"
	if t.Expires != 0 && t.Expires != Never {
		expires = "expires " + time.Unix(int64(t.Expires), 0).UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("rxkad token (%s, ticket of %d bytes, %s)", kind, len(t.Ticket), expires)
}

// Format prints String for every verb: a ticket is not for everybody's eyes either.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON refuses.
func (t Token) MarshalJSON() ([]byte, error) { return nil, errMarshal }
