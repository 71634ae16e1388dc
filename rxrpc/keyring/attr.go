package keyring

import (
	"strings"
	"time"
)

// Revoke makes a key of no use, at once. Of a client's key: no connection begins with it any more, and calls that go on end
// when they want to send the next data, with EKEYREVOKED. Of a service's: no ticket is opened with it any more; connections whose
// clients have proven themselves go on until their tickets expire. Errors: ErrNoKey, ErrDenied.
func (s *Store) Revoke(c Cred, id ID) error {
	now, end := s.begin()
	defer end()
	k, err := s.get(&c, id, Write|SetAttr)
	if err == nil && !k.revoked {
		k.revoked, k.deadAt = true, now
		k.gate.revoked.Store(true)
		k.wipe()
		k.generation++
		s.clear(k)
		s.collectBy(now.Add(s.cfg.Grace))
	}
	return fail("revoke", id.String(), err)
}

// SetTimeout lets a key expire after d; 0: not. A key of type rxrpc never lives longer than its tickets do,
// whatever is said here. Errors: ErrNoKey, ErrDenied, ErrRevoked, ErrExpired.
func (s *Store) SetTimeout(c Cred, id ID, d time.Duration) error {
	now, end := s.begin()
	defer end()
	k, err := s.usable(now, &c, id, SetAttr)
	if err == nil {
		k.expires = time.Time{}
		if d > 0 {
			k.expires = now.Add(d)
			s.collectBy(k.expires.Add(s.cfg.Grace))
		}
		k.gate.lives(k.expires)
	}
	return fail("set the timeout of", id.String(), err)
}

// SetPerm changes the permissions; the owner may, and an Admin. Errors: ErrNoKey, ErrDenied, ErrInvalid.
func (s *Store) SetPerm(c Cred, id ID, p Perm) error {
	_, end := s.begin()
	defer end()
	k, err := s.get(&c, id, SetAttr)
	switch {
	case p&^(AllRights<<ForPossessor|AllRights<<ForUser|AllRights<<ForGroup|AllRights) != 0:
		err = ErrInvalid
	case err == nil && k.uid != c.UID && !c.Admin:
		err = ErrDenied
	case err == nil:
		k.perm = p
	}
	return fail("set the permissions of", id.String(), err)
}

// Chown gives a key to another user, whose quota it counts for then: an Admin may. Errors: ErrNoKey, ErrDenied, ErrQuota.
func (s *Store) Chown(c Cred, id ID, uid, gid uint32) error {
	_, end := s.begin()
	defer end()
	k, err := s.get(&c, id, SetAttr)
	if err == nil && !c.Admin {
		err = ErrDenied
	}
	if err == nil && uid != k.uid {
		if err = s.charge(&Cred{}, uid, 1, k.charge); err == nil {
			_ = s.charge(nil, k.uid, -1, -k.charge)
		}
	}
	if err == nil {
		k.uid, k.gid = uid, gid
	}
	return fail("change the owner of", id.String(), err)
}

// Describe tells the attributes of a key. Errors: ErrNoKey, ErrDenied.
func (s *Store) Describe(c Cred, id ID) (Info, error) {
	_, end := s.begin()
	defer end()
	k, err := s.get(&c, id, View)
	if err != nil {
		return Info{}, fail("describe", id.String(), err)
	}
	i := Info{
		ID: k.id, Type: k.typ, Description: k.description, UID: k.uid, GID: k.gid, Perm: k.perm,
		Expires: k.expires, Revoked: k.revoked, Links: len(k.parents), Size: k.size,
	}
	if k.typ == TypeKeyring {
		i.Size = len(k.members)
	}
	return i, nil
}

// List returns the keys of a keyring, in the order in which they came. Errors: ErrNoKey, ErrNoRing, ErrDenied, ErrRevoked.
func (s *Store) List(c Cred, ring ID) ([]ID, error) {
	now, end := s.begin()
	defer end()
	r, err := s.ring(now, &c, ring, Read)
	if err != nil {
		return nil, fail("list", ring.String(), err)
	}
	return append([]ID(nil), r.members...), nil
}

// cellPrefix begins the descriptions of keys that can be read.
const cellPrefix = "afs@"

// Read returns the payload of a key of type rxrpc, in XDR, as Linux does: of keys whose description is afs@CELL
// only. The caller wipes it. Errors: ErrNoKey, ErrDenied, ErrRevoked, ErrExpired, ErrNotHere.
func (s *Store) Read(c Cred, id ID) ([]byte, error) {
	now, end := s.begin()
	defer end()
	k, err := s.usable(now, &c, id, Read)
	if err == nil {
		cell, ok := strings.CutPrefix(k.description, cellPrefix)
		if k.typ != TypeClient || !ok || len(k.tokens) == 0 {
			return nil, fail("read", id.String(), ErrNotHere)
		}
		var b []byte
		if b, err = AppendXDR(nil, cell, k.tokens...); err == nil {
			return b, nil
		}
	}
	return nil, fail("read", id.String(), err)
}
