package keyring

import (
	"time"

	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A Type says what a key is for.
type Type string

// Types.
const (
	TypeClient  Type = "rxrpc"   // of a client
	TypeServer  Type = "rxrpc_s" // of a service
	TypeKeyring Type = "keyring" // holds others
)

// An ID is the number of a key, at least 1. It is used once.
type ID int32

// A Cred says whose rights count.
type Cred struct {
	UID, GID uint32
	Groups   []uint32
	// Ring is the keyring that is searched first, and whose keys, and those of keyrings in it, are possessed.
	Ring ID
	// Admin may do everything, as a process with CAP_SYS_ADMIN; and it has no quota.
	Admin bool
}

// Info describes a key.
type Info struct {
	ID          ID
	Type        Type
	Description string
	UID, GID    uint32
	Perm        Perm
	Expires     time.Time // zero: does not
	Revoked     bool
	Links       int // keyrings that it is in
	Size        int // of the payload, in bytes; of a keyring the number of keys
}

// A key is a key or a keyring. All of it is guarded by Store.mu.
type key struct {
	id          ID
	typ         Type
	description string
	uid, gid    uint32
	perm        Perm
	expires     time.Time
	revoked     bool
	gate        *gate     // of a client's
	deadAt      time.Time // since when it is of no use
	parents     map[ID]int
	anchored    bool // made by NewKeyring
	charge      int  // bytes of the owner's quota
	size        int
	generation  uint64 // changes with the payload

	cell    string
	tokens  []Token     // of a client's
	service serviceName // of a service's
	secret  rxkad.Key   // of a service's
	members []ID        // of a keyring, in the order of linking
	index   map[name]ID // of a keyring: the same
}

// A name finds a key in a keyring.
type name struct {
	typ         Type
	description string
}

func (k *key) name() name { return name{k.typ, k.description} }

// state returns why the key cannot be used, or nil.
func (k *key) state(now time.Time) error {
	switch {
	case k.revoked:
		return ErrRevoked
	case !k.expires.IsZero() && !now.Before(k.expires):
		return ErrExpired
	}
	return nil
}

// instantiate gives the key its payload.
func (k *key) instantiate(payload []byte) error {
	switch k.typ {
	case TypeKeyring:
		if len(payload) > 0 {
			return ErrInvalid
		}
		k.index = map[name]ID{}
		return nil
	case TypeServer:
		service, err := parseService(k.description)
		if err == nil {
			err = checkServiceKey(service, payload)
		}
		if err != nil {
			return err
		}
		k.service, k.secret, k.size = service, rxkad.NewKey(payload), len(payload)
		return nil
	case TypeClient:
		tokens, cell, err := parsePayload(payload)
		if err != nil {
			return err
		}
		k.tokens, k.cell, k.size = tokens, cell, len(payload)
		k.expires = time.Time{}
		if e := expiry(tokens); e != 0 {
			k.expires = time.Unix(int64(e), 0)
		}
		return nil
	}
	return ErrType
}

// takePayload moves the payload of a key just made here: the old one is wiped.
func (k *key) takePayload(from *key) {
	k.wipe()
	k.tokens, k.cell, k.secret, k.size, k.expires = from.tokens, from.cell, from.secret, from.size, from.expires
	k.generation++
	k.gate.lives(k.expires)
}

func (k *key) wipe() {
	wipeTokens(k.tokens)
	k.secret.Wipe()
	k.tokens, k.size = nil, 0
}
