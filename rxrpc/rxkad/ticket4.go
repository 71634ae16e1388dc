package rxkad

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
)

// A ticket is what is in one, of either kind.
type ticket struct {
	Identity
	session [8]byte
}

// A Kerberos 4 ticket: flags (bit 0: numbers are little-endian) | name | instance | cell | address 4 | session
// key 8 | life 1 | begins 4 | service | its instance, padded to a multiple of 8, or to 56. Names end with
// a NUL.
const (
	maxName       = 63
	oddTicketSize = 56
	littleEndian  = 1
)

var errTicket4 = refuse(BadTicket, "the ticket is none of Kerberos 4, or its key another")

// openTicket4 decrypts and parses a Kerberos 4 ticket.
func openTicket4(b []byte, key [8]byte, life Lifetimes) (*ticket, error) {
	if len(b) == 0 || len(b)%des.BlockSize != 0 || len(b) > MaxTicket {
		return nil, errTicket4
	}
	block, err := des.NewCipher(key[:])
	if err != nil {
		return nil, &Error{BadKey, "DES", err}
	}
	plain := make([]byte, len(b))
	defer clear(plain)
	pcbcDecrypt(block, plain, b, key)
	return parseTicket4(plain, life)
}

func parseTicket4(b []byte, life Lifetimes) (*ticket, error) {
	t, r := &ticket{}, reader{b: b}
	flags := r.take(1)
	t.Name, t.Instance, t.Cell = r.str(), r.str(), r.str()
	r.take(4)
	session, lived, begins := r.take(8), r.take(1), r.take(4)
	service := r.str()
	r.str()
	used := len(b) - len(r.b)
	if r.bad || t.Name == "" || service == "" || (used+7)&^7 != len(b) && len(b) != oddTicketSize {
		return nil, errTicket4
	}
	order := binary.ByteOrder(binary.BigEndian)
	if flags[0]&littleEndian != 0 {
		order = binary.LittleEndian
	}
	copy(t.session[:], session)
	t.Begins = order.Uint32(begins)
	t.Expires = life.End(t.Begins, lived[0])
	return t, nil
}

// A reader takes a ticket apart; once something is missing, all is bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// str takes a name. What is no name goes to logs and lists of users: nothing in it may be a control character.
func (r *reader) str() string {
	n := bytes.IndexByte(r.b, 0)
	if r.bad || n < 0 || n > maxName {
		r.bad = true
		return ""
	}
	s := r.b[:n]
	r.b = r.b[n+1:]
	if !cleanName(s) {
		r.bad = true
	}
	return string(s)
}

func cleanName[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendTicket4 appends a Kerberos 4 ticket before it is encrypted.
func appendTicket4(b []byte, id *Identity, session [8]byte, life uint8, service, instance string) []byte {
	at := len(b)
	str := func(s string) { b = append(append(b, s...), 0) }
	b = append(b, 0)
	str(id.Name)
	str(id.Instance)
	str(id.Cell)
	b = append(b, 0, 0, 0, 0)
	b = append(b, session[:]...)
	b = append(b, life)
	b = binary.BigEndian.AppendUint32(b, id.Begins)
	str(service)
	str(instance)
	for (len(b)-at)%des.BlockSize != 0 {
		b = append(b, 0)
	}
	return b
}

// pcbcDecrypt and pcbcEncrypt are DES in PCBC mode, whole blocks; dst and src are the same or do not
// overlap.
func pcbcDecrypt(c cipher.Block, dst, src []byte, iv [8]byte) {
	chain := iv
	var sealed, plain [8]byte
	for len(src) >= des.BlockSize {
		copy(sealed[:], src)
		c.Decrypt(plain[:], sealed[:])
		for i := range plain {
			plain[i] ^= chain[i]
			chain[i] = plain[i] ^ sealed[i]
		}
		copy(dst, plain[:])
		dst, src = dst[des.BlockSize:], src[des.BlockSize:]
	}
}

func pcbcEncrypt(c cipher.Block, dst, src []byte, iv [8]byte) {
	chain := iv
	var in, out [8]byte
	for len(src) >= des.BlockSize {
		for i := range in {
			in[i] = src[i] ^ chain[i]
			chain[i] = src[i]
		}
		c.Encrypt(out[:], in[:])
		for i := range out {
			chain[i] ^= out[i]
		}
		copy(dst, out[:])
		dst, src = dst[des.BlockSize:], src[des.BlockSize:]
	}
}
