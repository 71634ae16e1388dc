package keyring

import (
	"encoding/binary"
	"math"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A Token is what a key of type rxrpc has for one security class; so far that is rxkad.
type Token struct {
	*rxkad.Token
	ViceID  uint32 // the user's number in the cell, if the maker of the key knew it
	Primary bool   // of the user's own cell
}

// Limits of payloads (net/rxrpc/key.c, AFSTOKEN_*).
const (
	nativeHeader = 24
	xdrFrom      = 28 // longer ones are XDR, if they can be
	maxXDR       = 16384
	maxTokens    = 8
	maxCell      = 64
	minToken     = 20
	rxkadToken   = 32 // without the ticket
)

// parsePayload parses the payload of a key of type rxrpc: no tokens for an empty one. It bounds
// every length before it allocates (CVE-2026-31696, CVE-2017-7482).
func parsePayload(b []byte) (tokens []Token, cell string, err error) {
	if len(b) == 0 {
		return nil, "", nil
	}
	if len(b) > xdrFrom {
		tokens, cell, isXDR, err := parseXDR(b)
		if isXDR || err == nil {
			return tokens, cell, err
		}
	}
	t, err := parseNative(b)
	if err != nil {
		return nil, "", err
	}
	return []Token{t}, "", nil
}

// parseNative parses version 1, in the byte order of the host:
//
//	version 4 | security index 2 | ticket length 2 | expires 4 | key version 4 | session key 8 | ticket
func parseNative(b []byte) (Token, error) {
	ne := binary.NativeEndian
	switch {
	case len(b) <= 4:
		return Token{}, ErrInvalid
	case ne.Uint32(b) != 1:
		return Token{}, ErrRejected
	case len(b) < nativeHeader:
		return Token{}, ErrInvalid
	case ne.Uint16(b[4:]) != uint16(wire.SecurityRxKAD):
		return Token{}, ErrNoSupport
	}
	n := int(ne.Uint16(b[6:]))
	switch {
	case n > rxkad.MaxTicket:
		return Token{}, ErrRejected
	case len(b) != nativeHeader+n:
		return Token{}, ErrInvalid
	}
	return Token{Token: &rxkad.Token{
		Version: ne.Uint32(b[12:]), Session: rxkad.NewKey(b[16:24]), Expires: ne.Uint32(b[8:]), Ticket: append([]byte(nil), b[nativeHeader:]...),
	}}, nil
}

// An xdr reads a form of XDR; bad stays set.
type xdr struct {
	b   []byte
	bad bool
}

func (x *xdr) take(n int) []byte {
	if x.bad || n < 0 || n > len(x.b) {
		x.bad = true
		return nil
	}
	b := x.b[:n]
	x.b = x.b[n:]
	return b
}

func (x *xdr) u32() uint32 {
	if b := x.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// opaque takes bytes with their length before and zeros behind.
func (x *xdr) opaque(most int) []byte {
	n := x.u32()
	if x.bad || n > uint32(most) {
		x.bad = true
		return nil
	}
	b := x.take(int(n))
	for _, pad := range x.take(-int(n) & 3) {
		if pad != 0 {
			x.bad = true
		}
	}
	return b
}

// parseXDR parses
//
//	flags 0 | cell<64> | tokens<8>, each opaque { security index, ... }
//
// isXDR says that it is that, so that it is not taken for the native form whatever is wrong with a token.
func parseXDR(b []byte) (tokens []Token, cell string, isXDR bool, err error) {
	if len(b) > maxXDR || len(b)%4 != 0 {
		return nil, "", false, ErrInvalid
	}
	x := xdr{b: b}
	if x.u32() != 0 {
		return nil, "", false, ErrInvalid
	}
	name := x.opaque(maxCell)
	count := x.u32()
	if x.bad || len(name) == 0 || count < 1 || count > maxTokens {
		return nil, "", false, ErrInvalid
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return nil, "", false, ErrInvalid
		}
	}
	bodies := make([][]byte, count)
	for i := range bodies {
		if bodies[i] = x.opaque(maxXDR); len(bodies[i]) < minToken {
			x.bad = true
		}
	}
	if x.bad || len(x.b) != 0 {
		return nil, "", false, ErrInvalid
	}
	for _, body := range bodies {
		if binary.BigEndian.Uint32(body) != uint32(wire.SecurityRxKAD) {
			continue // of another class
		}
		t, err := parseRxKAD(body[4:])
		if err != nil {
			wipeTokens(tokens)
			return nil, "", true, err
		}
		tokens = append(tokens, t)
	}
	if len(tokens) == 0 {
		return nil, "", true, ErrNoSupport
	}
	return tokens, string(name), true, nil
}

// parseRxKAD parses vice id | key version | session key 8 | begins | expires | primary | ticket<12000>.
func parseRxKAD(b []byte) (Token, error) {
	x := xdr{b: b}
	id, version, key, begins, expires, primary := x.u32(), x.u32(), x.take(8), x.u32(), x.u32(), x.u32()
	ticket := x.opaque(rxkad.MaxTicket)
	if x.bad || len(x.b) != 0 {
		return Token{}, ErrRejected
	}
	return Token{
		ViceID: id, Primary: primary != 0,
		Token: &rxkad.Token{Version: version, Session: rxkad.NewKey(key), Begins: begins, Expires: expires, Ticket: append([]byte(nil), ticket...)},
	}, nil
}

func wipeTokens(tokens []Token) {
	for _, t := range tokens {
		t.Wipe()
	}
}

// expiry returns when the first of the tokens ends, in unix seconds; 0 never.
func expiry(tokens []Token) uint32 {
	first := uint32(math.MaxUint32)
	for _, t := range tokens {
		if t.Expires != 0 {
			first = min(first, t.Expires)
		}
	}
	if first == rxkad.Never {
		return 0
	}
	return first
}

// AppendNative appends the payload of a key that has one token, in the native form: what add_key of Linux takes on this
// machine. The session key is in it: wipe what is not needed any more.
func AppendNative(b []byte, t *rxkad.Token) ([]byte, error) {
	if t.Session.Len() != 8 || len(t.Ticket) > rxkad.MaxTicket {
		return b, ErrInvalid
	}
	ne := binary.NativeEndian
	b = ne.AppendUint32(b, 1)
	b = ne.AppendUint16(b, uint16(wire.SecurityRxKAD))
	b = ne.AppendUint16(b, uint16(len(t.Ticket)))
	b = ne.AppendUint32(b, t.Expires)
	b = ne.AppendUint32(b, t.Version)
	return append(t.Session.AppendTo(b), t.Ticket...), nil
}

// AppendXDR appends the payload of a key with tokens for a cell, 1 to 8 of them.
func AppendXDR(b []byte, cell string, tokens ...Token) ([]byte, error) {
	if len(cell) < 1 || len(cell) > maxCell || len(tokens) < 1 || len(tokens) > maxTokens {
		return b, ErrInvalid
	}
	be := binary.BigEndian
	pad := func(b []byte, n int) []byte { return append(b, make([]byte, -n&3)...) }
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(cell)))
	b = pad(append(b, cell...), len(cell))
	b = be.AppendUint32(b, uint32(len(tokens)))
	for _, t := range tokens {
		if t.Session.Len() != 8 || len(t.Ticket) > rxkad.MaxTicket {
			return b, ErrInvalid
		}
		b = be.AppendUint32(b, uint32(4+rxkadToken+(len(t.Ticket)+3)&^3))
		b = be.AppendUint32(b, uint32(wire.SecurityRxKAD))
		b = be.AppendUint32(b, t.ViceID)
		b = be.AppendUint32(b, t.Version)
		b = t.Session.AppendTo(b)
		b = be.AppendUint32(b, t.Begins)
		b = be.AppendUint32(b, t.Expires)
		primary := uint32(0)
		if t.Primary {
			primary = 1
		}
		b = be.AppendUint32(b, primary)
		b = be.AppendUint32(b, uint32(len(t.Ticket)))
		b = pad(append(b, t.Ticket...), len(t.Ticket))
	}
	return b, nil
}
