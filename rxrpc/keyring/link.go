package keyring

import (
	"slices"
	"strconv"
	"time"
)

// String returns "key 7".
func (id ID) String() string { return "key " + strconv.Itoa(int(id)) }

// Link puts a key into a keyring, in place of one of the same type and description. Errors: ErrNoKey, ErrNoRing, ErrDenied,
// ErrCycle, ErrDepth, ErrFull, ErrRevoked, ErrExpired.
func (s *Store) Link(c Cred, id, ring ID) error {
	now, end := s.begin()
	defer end()
	r, err := s.ring(now, &c, ring, Write)
	if err == nil {
		var k *key
		if k, err = s.usable(now, &c, id, Link); err == nil {
			err = s.link(k, r)
		}
	}
	return fail("link", id.String()+" into "+ring.String(), err)
}

func (s *Store) link(k, r *key) error {
	if k.typ == TypeKeyring {
		if k.id == r.id || s.contains(k, r.id) {
			return ErrCycle
		}
		if s.height(k)+s.depth(r) > maxDepth {
			return ErrDepth
		}
	}
	old := s.keys[r.index[k.name()]]
	if old == k {
		return nil
	}
	if old == nil && len(r.members) >= s.cfg.MaxLinks {
		return ErrFull
	}
	if old != nil {
		s.unlink(old, r)
	}
	r.members = append(r.members, k.id)
	r.index[k.name()] = k.id
	k.parents[r.id]++
	return nil
}

// contains reports whether a keyring has another in it, at any depth.
func (s *Store) contains(r *key, id ID) bool {
	found := false
	s.walk(r.id, func(k *key) bool {
		found = found || k.id == id
		return !found
	})
	return found
}

// height is how deep keyrings in k go, with k; depth how many k is in, with k.
func (s *Store) height(k *key) int {
	h := 0
	for _, m := range k.members {
		if c := s.keys[m]; c != nil && c.typ == TypeKeyring {
			h = max(h, s.height(c))
		}
	}
	return h + 1
}

func (s *Store) depth(k *key) int {
	d := 0
	for p := range k.parents {
		if r := s.keys[p]; r != nil {
			d = max(d, s.depth(r))
		}
	}
	return d + 1
}

// Unlink takes a key out of a keyring; a key that is in none is gone. Errors: ErrNoKey, ErrNoRing, ErrDenied, ErrNoLink.
func (s *Store) Unlink(c Cred, id, ring ID) error {
	now, end := s.begin()
	defer end()
	r, err := s.ring(now, &c, ring, Write)
	if err == nil {
		k := s.keys[id]
		switch {
		case k == nil:
			err = ErrNoKey
		case r.index[k.name()] != id:
			err = ErrNoLink
		default:
			s.unlink(k, r)
		}
	}
	return fail("unlink", id.String()+" from "+ring.String(), err)
}

func (s *Store) unlink(k, r *key) {
	delete(r.index, k.name())
	if i := slices.Index(r.members, k.id); i >= 0 {
		r.members = slices.Delete(r.members, i, i+1)
	}
	delete(k.parents, r.id)
	s.release(k)
}

// Clear takes all keys out of a keyring. Errors: ErrNoKey, ErrNoRing, ErrDenied.
func (s *Store) Clear(c Cred, ring ID) error {
	now, end := s.begin()
	defer end()
	r, err := s.ring(now, &c, ring, Write)
	if err == nil {
		s.clear(r)
	}
	return fail("clear", ring.String(), err)
}

func (s *Store) clear(r *key) {
	for len(r.members) > 0 {
		k := s.keys[r.members[len(r.members)-1]]
		s.unlink(k, r)
	}
}

// release destroys a key that nothing holds.
func (s *Store) release(k *key) {
	if k.anchored || len(k.parents) > 0 || s.keys[k.id] != k {
		return
	}
	delete(s.keys, k.id)
	s.clear(k)
	k.wipe()
	k.revoked = true
	_ = s.charge(nil, k.uid, -1, -k.charge)
}

// collectBy makes sure that the collector runs then.
func (s *Store) collectBy(t time.Time) {
	if s.nextGC.IsZero() || t.Before(s.nextGC) {
		s.nextGC = t
	}
}

// collect takes keys that have long been of no use out of all keyrings.
func (s *Store) collect(now time.Time) {
	s.nextGC = now.Add(24 * time.Hour)
	var dead []*key
	for _, k := range s.keys {
		at := k.expires
		switch {
		case k.revoked:
			at = k.deadAt
		case at.IsZero():
			continue
		}
		if at = at.Add(s.cfg.Grace); at.After(now) {
			s.collectBy(at)
			continue
		}
		dead = append(dead, k)
	}
	for _, k := range dead {
		k.anchored = false
		for p := range k.parents {
			if r := s.keys[p]; r != nil {
				s.unlink(k, r)
			}
		}
		s.release(k)
	}
}
