package rxkad

import (
	"math"
	"strings"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// flagInvalid is the bit of a ticket that must be validated by its maker first (RFC 4120, section 5.3).
const flagInvalid = 7

// openTicket5 decrypts and parses a Kerberos 5 ticket: a Ticket, or an EncryptedData alone.
func openTicket5(b []byte, version uint32, service uint16, cfg *ServerConfig) (*ticket, error) {
	sealed, err := sealedTicket5(b, version)
	if err != nil {
		return nil, err
	}
	plain, err := decryptTicket5(sealed, service, cfg.Keys)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	t, err := parseTicket5(plain, cfg)
	if err == nil {
		t.Version, t.EncType = version, sealed.EType
	}
	return t, err
}

// parseTicket5 parses what was encrypted.
func parseTicket5(plain []byte, cfg *ServerConfig) (*ticket, error) {
	var part messages.EncTicketPart
	if err := part.Unmarshal(plain); err != nil {
		return nil, &Error{BadTicket, "the encrypted part of the ticket", err}
	}
	defer clear(part.Key.KeyValue)
	t := &ticket{}
	t.Cell = part.CRealm
	if err := t.nameFrom(&part.CName, cfg.DottedNames); err != nil {
		return nil, err
	}
	if part.Flags.At(flagInvalid) != 0 {
		return nil, refuse(NoAuth, "the ticket is marked invalid")
	}
	begins := part.StartTime
	if begins.IsZero() {
		begins = part.AuthTime
	}
	t.Begins, t.Expires = unix(begins), unix(part.EndTime)
	var err error
	if t.session, err = sessionKey(part.Key.KeyType, part.Key.KeyValue); err != nil {
		return nil, &Error{BadTicket, "the session key of the ticket", err}
	}
	return t, nil
}

// unix is a time within what a ticket of Kerberos 4 can say.
func unix(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

func sealedTicket5(b []byte, version uint32) (sealed types.EncryptedData, err error) {
	if version == Kerberos5 {
		var t messages.Ticket
		if err := t.Unmarshal(b); err != nil {
			return sealed, &Error{BadTicket, "no Kerberos 5 ticket", err}
		}
		if t.TktVNO != 5 {
			return sealed, refuse(BadTicket, "a ticket of another version of Kerberos")
		}
		return t.EncPart, nil
	}
	if err := sealed.Unmarshal(b); err != nil {
		return sealed, &Error{BadTicket, "no encrypted part of a Kerberos 5 ticket", err}
	}
	return sealed, nil
}

// decryptTicket5 opens with the key of the version that the ticket names, and no other (OpenAFS).
func decryptTicket5(sealed types.EncryptedData, service uint16, keys Keys) ([]byte, error) {
	q := KeyQuery{Service: service, Version: uint32(sealed.KVNO), EncType: sealed.EType}
	isDES := sealed.EType >= desCBCCRC && sealed.EType <= desCBCMD5
	if isDES {
		q.EncType = DES
	}
	key, err := lookUp(keys, q)
	if err != nil {
		return nil, err
	}
	if isDES {
		k, ok := key.eight()
		if !ok {
			return nil, refuse(UnknownKey, "a key that is none of DES")
		}
		plain, err := decryptDES(sealed.EType, k, sealed.Cipher)
		if err != nil {
			return nil, &Error{BadTicket, "the ticket cannot be decrypted", err}
		}
		return plain, nil
	}
	et, err := crypto.GetEtype(sealed.EType)
	if err != nil {
		return nil, &Error{UnknownKey, "encryption type of the ticket", err}
	}
	if key.Len() != et.GetKeyByteSize() {
		return nil, refuse(UnknownKey, "a key that is none of the ticket's encryption type")
	}
	if len(sealed.Cipher) < et.GetConfounderByteSize()+et.GetHMACBitLength()/8+1 {
		return nil, refuse(BadTicket, "the encrypted part of the ticket is too short")
	}
	k := types.EncryptionKey{KeyType: sealed.EType, KeyValue: key.AppendTo(nil)}
	defer clear(k.KeyValue)
	plain, err := crypto.DecryptEncPart(sealed, k, keyusage.KDC_REP_TICKET)
	if err != nil {
		return nil, &Error{BadTicket, "the ticket cannot be decrypted", err}
	}
	return plain, nil
}

// nameFrom takes a principal's name over as Kerberos 4 has it.
func (t *ticket) nameFrom(p *types.PrincipalName, dotted bool) error {
	parts := p.NameString
	if len(parts) < 1 || len(parts) > 2 || parts[0] == "" {
		return refuse(BadTicket, "a principal with no name, or one of more than two parts")
	}
	// foo.root and foo/root would be the same to whoever reads name.instance.
	if !dotted && strings.Contains(parts[0], ".") {
		return refuse(BadTicket, "a principal with a dot in its name")
	}
	t.Name = parts[0]
	if len(parts) == 2 {
		t.Instance = parts[1]
		if hostServices[t.Name] {
			// The instance is a host's name; Kerberos 4 has the first label.
			host, _, ok := strings.Cut(t.Instance, ".")
			if !ok || host == "" {
				return refuse(BadTicket, "a service's principal without a host's full name")
			}
			t.Instance = host
		}
		if t.Name == "host" {
			t.Name = "rcmd"
		}
	}
	for _, s := range []string{t.Name, t.Instance, t.Cell} {
		if len(s) > maxName || !cleanName(s) {
			return refuse(BadTicket, "a principal with a name that is too long, or none")
		}
	}
	return nil
}

// hostServices are those whose principals Kerberos 4 and 5 write in different ways (MIT's krb5_524_conv_principal).
var hostServices = func() map[string]bool {
	m := make(map[string]bool)
	for s := range strings.FieldsSeq(`host discuss rvdsrv sample olc pop sis rfs imap ftp ecat daemon gnats moira prms mandarin
		register changepw sms afpserver gdss news abs nfs tftp http khttp pgpsigner irc mandarin-agent write palladium
		smtp lmtp ldap acap argus mupdate`) {
		m[s] = true
	}
	return m
}()
