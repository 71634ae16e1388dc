package rxkad

import (
	"crypto/des"
	"crypto/rand"
	"fmt"
	"syscall"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// A TicketRequest is what a ticket is printed for by somebody who has the service's key: a key distribution
// centre, a test, or a program on the server itself.
type TicketRequest struct {
	Name, Instance, Cell string
	// Begins and Expires are in unix seconds; 0 and 0: now, for ten hours. A Kerberos 4 ticket ends at
	// the end of its life, which is counted in steps.
	Begins, Expires uint32
	// Always makes the ticket valid at all times. Linux refuses such tickets of Kerberos 4.
	Always bool
	// Session is the session key; default a random one.
	Session Key
	// Service is whom the ticket is for, in Kerberos 4 tickets; default "afs". Nobody looks.
	Service, ServiceInstance string
	// Lifetimes is how a Kerberos 4 ticket's life is counted.
	Lifetimes Lifetimes
}

// printedLife is how long a ticket lives if its request does not say.
const printedLife = 10 * time.Hour

func (r *TicketRequest) complete(never uint32) (session [8]byte, err error) {
	switch {
	case r.Always:
		r.Begins, r.Expires = 0, never
	case r.Begins == 0 && r.Expires == 0:
		now := time.Now()
		r.Begins, r.Expires = uint32(now.Unix()), uint32(now.Add(printedLife).Unix())
	}
	if r.Service == "" {
		r.Service = "afs"
	}
	for _, s := range []string{r.Name, r.Instance, r.Cell, r.Service, r.ServiceInstance} {
		if len(s) > maxName || !cleanName(s) {
			return session, fmt.Errorf("rxkad: a name in a ticket with control characters, or longer than %d: %w", maxName, syscall.EINVAL)
		}
	}
	if r.Name == "" {
		return session, fmt.Errorf("rxkad: a ticket for nobody: %w", syscall.EINVAL)
	}
	if r.Session.Len() == 0 {
		r.Session = RandomKey()
	}
	session, ok := r.Session.eight()
	if !ok || weakKey(session) {
		return session, fmt.Errorf("rxkad: weak session key, or not of 8 bytes: %w", syscall.EINVAL)
	}
	return session, nil
}

// RandomKey returns a DES key that is not weak.
func RandomKey() Key {
	var k [8]byte
	defer clear(k[:])
	for {
		_, _ = rand.Read(k[:]) // never fails
		fixParity(&k)
		if !weakKey(k) {
			return NewKey(k[:])
		}
	}
}

// PrintTicket4 makes a token with a Kerberos 4 ticket, for a service with that DES key.
func PrintTicket4(key Key, version uint8, r TicketRequest) (*Token, error) {
	if uint32(version) == Kerberos5Part {
		return nil, fmt.Errorf("rxkad: key version %d means Kerberos 5: %w", version, syscall.EINVAL)
	}
	k, ok := key.eight()
	if !ok {
		return nil, fmt.Errorf("rxkad: a DES key has 8 bytes: %w", syscall.EINVAL)
	}
	defer clear(k[:])
	session, err := r.complete(Never)
	if err != nil {
		return nil, err
	}
	life, ok := r.Lifetimes.Life(r.Begins, r.Expires)
	if !ok {
		return nil, fmt.Errorf("rxkad: a ticket from %d to %d cannot be: %w", r.Begins, r.Expires, syscall.EINVAL)
	}
	id := Identity{Name: r.Name, Instance: r.Instance, Cell: r.Cell, Begins: r.Begins}
	b := appendTicket4(nil, &id, session, life, r.Service, r.ServiceInstance)
	block, err := des.NewCipher(k[:])
	if err != nil {
		return nil, fmt.Errorf("rxkad: %w", err)
	}
	pcbcEncrypt(block, b, b, k)
	return &Token{
		Version: uint32(version), Ticket: b, Session: r.Session, Begins: r.Begins, Expires: r.Lifetimes.End(r.Begins, life),
	}, nil
}

// forever5 is as long as a printed Kerberos 5 ticket lives at most: whoever has signed numbers understands it.
const forever5 = 1<<31 - 1

// PrintTicket5 makes a token with the encrypted part of a Kerberos 5 ticket (version 213), for a service with
// a key of that encryption type (16 to 20 or 23).
func PrintTicket5(key Key, version uint32, enctype int32, r TicketRequest) (*Token, error) {
	et, err := crypto.GetEtype(enctype)
	if err != nil {
		return nil, fmt.Errorf("rxkad: %w: %w", err, syscall.EPROTONOSUPPORT)
	}
	if key.Len() != et.GetKeyByteSize() {
		return nil, fmt.Errorf("rxkad: a key of encryption type %d has %d bytes: %w", enctype, et.GetKeyByteSize(), syscall.EINVAL)
	}
	session, err := r.complete(forever5)
	if err != nil {
		return nil, err
	}
	defer clear(session[:])
	names := []string{r.Name}
	if r.Instance != "" {
		names = append(names, r.Instance)
	}
	part := messages.EncTicketPart{
		Flags:     asn1.BitString{Bytes: make([]byte, 4), BitLength: 32},
		Key:       types.EncryptionKey{KeyType: desCBCCRC, KeyValue: session[:]},
		CRealm:    r.Cell,
		CName:     types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: names},
		AuthTime:  time.Unix(int64(r.Begins), 0).UTC(),
		StartTime: time.Unix(int64(r.Begins), 0).UTC(),
		EndTime:   time.Unix(int64(r.Expires), 0).UTC(),
	}
	plain, err := asn1.Marshal(part)
	if err != nil {
		return nil, fmt.Errorf("rxkad: %w", err)
	}
	plain = asn1tools.AddASNAppTag(plain, asnAppTag.EncTicketPart)
	defer clear(plain)
	k := types.EncryptionKey{KeyType: enctype, KeyValue: key.AppendTo(nil)}
	defer clear(k.KeyValue)
	sealed, err := crypto.GetEncryptedData(plain, k, keyusage.KDC_REP_TICKET, int(version))
	if err != nil {
		return nil, fmt.Errorf("rxkad: %w", err)
	}
	b, err := sealed.Marshal()
	if err != nil {
		return nil, fmt.Errorf("rxkad: %w", err)
	}
	return &Token{Version: Kerberos5Part, Ticket: b, Session: r.Session, Begins: r.Begins, Expires: r.Expires}, nil
}

// localAuth is whom OpenAFS's servers trust in everything.
var localAuth = TicketRequest{Name: "afs", Always: true}

// LocalAuth4 and LocalAuth5 make the token of a program that has the service's key: that of -localauth, which
// is the superuser of all of OpenAFS's servers. It never expires.
func LocalAuth4(key Key, version uint8) (*Token, error) { return PrintTicket4(key, version, localAuth) }

// LocalAuth5 is for keys of Kerberos 5 encryption types.
func LocalAuth5(key Key, version uint32, enctype int32) (*Token, error) {
	return PrintTicket5(key, version, enctype, localAuth)
}
