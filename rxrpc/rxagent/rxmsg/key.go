package rxmsg

import (
	"encoding/binary"
	"strconv"
)

// OwnKeyring is the Arg of OpKeyKeyring for the keyring of who asks; others are a user id.
const OwnKeyring = 1<<32 - 1

// KeyArg is the Arg of operations with a key and a keyring: 0 as keyring is the user's.
func KeyArg(id, ring uint32) uint64 { return uint64(ring)<<32 | uint64(id) }

// SplitKeyArg is the reverse.
func SplitKeyArg(arg uint64) (id, ring uint32) { return uint32(arg), uint32(arg >> 32) }

// FlagSealed, of OpKeyAdd, says that the payload is sealed for the agent: HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256 and ChaCha20-Poly1305, to the key that OpKeySeal returns, with SealInfo as info; the encapsulated key comes first.
const FlagSealed = 8

// SealInfo binds a sealed payload to the key that it is for.
func SealInfo(typ, description string) []byte {
	return []byte("cnbus rxrpc key\x00" + typ + "\x00" + description)
}

// A KeyAdd is the body of OpKeyAdd, and of OpKeySearch, without a timeout and a payload.
//
//	0         4         6         8
//	| timeout | typelen | desclen | type, description, payload
type KeyAdd struct {
	Timeout     uint32 // s; 0: none but that of the tickets
	Type        string // "rxrpc", "rxrpc_s", "keyring"
	Description string
	Payload     []byte
}

const keyAddSize = 8

// Append appends it. Strings longer than 65535 bytes are EINVAL.
func (k *KeyAdd) Append(b []byte) ([]byte, error) {
	if len(k.Type) > 0xffff || len(k.Description) > 0xffff {
		return b, invalid("a key's type of %d bytes, description of %d", len(k.Type), len(k.Description))
	}
	o := binary.NativeEndian
	b = o.AppendUint32(b, k.Timeout)
	b = o.AppendUint16(b, uint16(len(k.Type)))
	b = o.AppendUint16(b, uint16(len(k.Description)))
	b = append(append(b, k.Type...), k.Description...)
	return append(b, k.Payload...), nil
}

// ParseKeyAdd reads one; Payload is part of b.
func ParseKeyAdd(b []byte) (KeyAdd, error) {
	if len(b) < keyAddSize {
		return KeyAdd{}, short("key", len(b), keyAddSize)
	}
	o := binary.NativeEndian
	typ, description := int(o.Uint16(b[4:])), int(o.Uint16(b[6:]))
	if rest := len(b) - keyAddSize; typ+description > rest {
		return KeyAdd{}, invalid("a key's type of %d bytes and description of %d in %d", typ, description, rest)
	}
	k, s := KeyAdd{Timeout: o.Uint32(b)}, b[keyAddSize:]
	k.Type, k.Description, k.Payload = string(s[:typ]), string(s[typ:typ+description]), s[typ+description:]
	return k, nil
}

// A KeyInfo describes a key: the reply to OpKeyDescribe, and a part of that to OpKeyList.
//
//	0    4     8     12     16        24     28      30      32        34        36
//	| id | uid | gid | perm | expires | size | links | flags | typelen | desclen | type, description
type KeyInfo struct {
	ID, UID, GID uint32
	Perm         uint32 // as keyctl_setperm(3) has it
	Expires      int64  // unix seconds; 0: does not
	Size         uint32 // of the payload, in bytes; of a keyring the number of keys
	Links        uint16 // keyrings that it is in
	Revoked      bool   // flag 1
	Type         string
	Description  string
}

const (
	keyInfoSize = 36
	keyRevoked  = 1
)

// Append appends it. A description is cut to 4095 bytes, which none is longer than.
func (k *KeyInfo) Append(b []byte) []byte {
	typ, description := k.Type[:min(len(k.Type), 4095)], k.Description[:min(len(k.Description), 4095)]
	o := binary.NativeEndian
	for _, v := range [...]uint32{k.ID, k.UID, k.GID, k.Perm} {
		b = o.AppendUint32(b, v)
	}
	b = o.AppendUint64(b, uint64(k.Expires))
	b = o.AppendUint32(b, k.Size)
	b = o.AppendUint16(b, k.Links)
	b = o.AppendUint16(b, flag(k.Revoked)*keyRevoked)
	b = o.AppendUint16(b, uint16(len(typ)))
	b = o.AppendUint16(b, uint16(len(description)))
	return append(append(b, typ...), description...)
}

// ParseKeyInfo reads one and returns what follows.
func ParseKeyInfo(b []byte) (k KeyInfo, rest []byte, err error) {
	if len(b) < keyInfoSize {
		return k, nil, short("description of a key", len(b), keyInfoSize)
	}
	o := binary.NativeEndian
	typ, description := int(o.Uint16(b[32:])), int(o.Uint16(b[34:]))
	if n := len(b) - keyInfoSize; typ+description > n {
		return k, nil, invalid("a key's type of %d bytes and description of %d in %d", typ, description, n)
	}
	k = KeyInfo{
		ID: o.Uint32(b), UID: o.Uint32(b[4:]), GID: o.Uint32(b[8:]), Perm: o.Uint32(b[12:]), Expires: int64(o.Uint64(b[16:])),
		Size: o.Uint32(b[24:]), Links: o.Uint16(b[28:]), Revoked: o.Uint16(b[30:])&keyRevoked != 0,
	}
	s := b[keyInfoSize:]
	k.Type, k.Description = string(s[:typ]), string(s[typ:typ+description])
	return k, s[typ+description:], nil
}

// key describes a request about keys; a payload is never shown.
func (d *describer) key(h *Header, body []byte) {
	id, ring := SplitKeyArg(h.Arg)
	switch h.Op {
	case OpKeyAdd, OpKeySearch:
		k, err := ParseKeyAdd(body)
		if err != nil {
			d.WriteString(": malformed")
			return
		}
		d.WriteString(" ")
		d.text([]byte(k.Type))
		d.WriteString(" ")
		d.text([]byte(k.Description))
		if h.Op == OpKeyAdd {
			d.printf(", %d bytes", len(k.Payload))
			if h.Flags&FlagSealed != 0 {
				d.WriteString(", sealed")
			}
		}
	case OpKeyKeyring:
		if h.Arg == OwnKeyring {
			d.WriteString(" of its own")
			return
		}
		d.printf(" of uid %d", h.Arg)
		return
	case OpKeyList, OpKeyClear:
	default:
		d.printf(" key %d", id)
	}
	if ring != 0 {
		d.WriteString(" in key " + strconv.Itoa(int(ring)))
	}
}
