package rxkad

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// A KeyQuery names a key of a service that a ticket is encrypted with.
type KeyQuery struct {
	Service uint16
	// Version is the key's; of a Kerberos 4 ticket 0 to 255.
	Version uint32
	// EncType is that of Kerberos (RFC 3961), or DES for Kerberos 4 tickets and for the DES
	// types of Kerberos 5, 1 to 3: they share keys.
	EncType int32
}

// DES is the EncType of 8-byte DES keys.
const DES int32 = 0

// String describes the key that is asked for: "service 52, DES key 3".
func (q KeyQuery) String() string {
	if q.EncType == DES {
		return fmt.Sprintf("service %d, DES key %d", q.Service, q.Version)
	}
	return fmt.Sprintf("service %d, key %d of encryption type %d", q.Service, q.Version, q.EncType)
}

// Keys is where a server's keys come from. It is asked with every response, so that keys can change while
// a server runs; it must not wait for long.
type Keys interface {
	// ServerKey returns a key, or an error that wraps ENOKEY if there is none: the client is told UnknownKey;
	// EKEYEXPIRED: Expired; another: NoAuth.
	ServerKey(q KeyQuery) (Key, error)
}

// KeysFunc makes a function Keys.
type KeysFunc func(q KeyQuery) (Key, error)

// ServerKey calls f.
func (f KeysFunc) ServerKey(q KeyQuery) (Key, error) { return f(q) }

// ErrNoKey is that there is no such key.
var ErrNoKey = fmt.Errorf("rxkad: no such key: %w", errno.NoKey)

// OneKey is a service that has one DES key, of that version.
func OneKey(version uint32, key Key) Keys {
	return KeysFunc(func(q KeyQuery) (Key, error) {
		if q.Version != version || q.EncType != DES {
			return Key{}, ErrNoKey
		}
		return key, nil
	})
}

// MoreKeys asks each of them, in order, until one has the key.
func MoreKeys(all ...Keys) Keys {
	return KeysFunc(func(q KeyQuery) (Key, error) {
		for _, k := range all {
			if key, err := k.ServerKey(q); err == nil || !errors.Is(err, errno.NoKey) {
				return key, err
			}
		}
		return Key{}, ErrNoKey
	})
}

// lookUp asks for a key and turns errors into what the client is told.
func lookUp(keys Keys, q KeyQuery) (Key, error) {
	k, err := keys.ServerKey(q)
	switch {
	case err == nil && k.Len() > 0:
		return k, nil
	case err == nil || errors.Is(err, errno.NoKey):
		return Key{}, &Error{UnknownKey, q.String(), err}
	case errors.Is(err, errno.KeyExpired):
		return Key{}, &Error{Expired, q.String(), err}
	}
	return Key{}, &Error{NoAuth, q.String(), err}
}
