package keyring

import (
	"errors"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// A Source is where Request looks for keys that are not in memory.
type Source interface {
	// Request returns the payload of a key, or an error that wraps ENOKEY if there is none. The payload is the
	// Store's, which wipes it.
	Request(typ Type, description string) (payload []byte, err error)
}

// Search finds a key in a keyring and those in it, near ones first (keyctl_search(3)). Keyrings that c
// may not search are passed over.
//
// Errors: ErrNoKey; ErrRevoked, ErrExpired or ErrDenied if that is what is wrong with all that are there; of the keyring
// itself ErrNoRing and ErrDenied.
func (s *Store) Search(c Cred, ring ID, typ Type, description string) (ID, error) {
	now, end := s.begin()
	defer end()
	k, err := s.search(now, &c, ring, typ, description)
	if err != nil {
		return 0, fail("search", named(typ, description), err)
	}
	return k.id, nil
}

func (s *Store) search(now time.Time, c *Cred, ring ID, typ Type, description string) (*key, error) {
	if _, err := s.ring(now, c, ring, Search); err != nil {
		return nil, err
	}
	var found *key
	why := ErrNoKey
	want := name{typ, description}
	s.walkSearchable(now, c, ring, func(r *key) bool {
		k := s.keys[r.index[want]]
		if k == nil {
			return true
		}
		switch err := k.state(now); {
		case err != nil:
			if why == ErrNoKey || why == ErrDenied {
				why = err
			}
		case !s.may(c, k, Search):
			if why == ErrNoKey {
				why = ErrDenied
			}
		default:
			found = k
		}
		return found == nil
	})
	if found == nil {
		return nil, why
	}
	return found, nil
}

// walkSearchable calls f with the keyrings that c may search.
func (s *Store) walkSearchable(now time.Time, c *Cred, ring ID, f func(*key) bool) {
	seen, queue := map[ID]bool{ring: true}, []ID{ring}
	for len(queue) > 0 {
		r := s.keys[queue[0]]
		queue = queue[1:]
		if !f(r) {
			return
		}
		for _, m := range r.members {
			if k := s.keys[m]; k.typ == TypeKeyring && !seen[m] && k.state(now) == nil && s.may(c, k, Search) {
				seen[m] = true
				queue = append(queue, m)
			}
		}
	}
}

// Request finds a key from c's keyring on (request_key(2)). What is not there is asked of the Sources, and put into dest, or
// if that is 0 into c's keyring. Errors: as of Search, of what a Source returned, and of Add.
func (s *Store) Request(c Cred, typ Type, description string, dest ID) (ID, error) {
	now, end := s.begin()
	k, err := s.search(now, &c, c.Ring, typ, description)
	end()
	if err == nil {
		return k.id, nil
	}
	if !errors.Is(err, errno.NoKey) {
		return 0, fail("request", named(typ, description), err)
	}
	if dest == 0 {
		dest = c.Ring
	}
	for _, src := range s.cfg.Sources {
		payload, err := src.Request(typ, description) // not under the lock: it may be a system call
		if errors.Is(err, errno.NoKey) {
			continue
		}
		var id ID
		if err == nil {
			id, err = s.Add(c, typ, description, payload, dest)
			clear(payload)
		}
		return id, fail("request", named(typ, description), err)
	}
	return 0, fail("request", named(typ, description), ErrNoKey)
}
