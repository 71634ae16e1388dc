package keyring

import "slices"

// Perm is who may do what with a key: four times six bits, as keyctl_setperm(3) has them.
type Perm uint32

// Rights; they are shifted to whom they are for.
const (
	View    Perm = 1 << iota // see its attributes
	Read                     // its payload, or a keyring's keys
	Write                    // change that
	Search                   // find it, and search a keyring
	Link                     // put it into a keyring
	SetAttr                  // change owner, permissions, time of expiry; revoke

	AllRights = View | Read | Write | Search | Link | SetAttr
)

// Whom rights are for. Those of the first that fits count, and the possessor's besides.
const (
	ForPossessor = 24
	ForUser      = 16
	ForGroup     = 8
	ForOther     = 0
)

// defaultPerm is what a key has when it is made: everything for who possesses it, a look for its owner.
const defaultPerm = AllRights<<ForPossessor | View<<ForUser

// ringPerm is that of keyrings made by NewKeyring: their owner works with them by number.
const ringPerm = AllRights<<ForPossessor | AllRights<<ForUser

// may reports whether c has a right to a key.
func (s *Store) may(c *Cred, k *key, right Perm) bool {
	if c.Admin {
		return true
	}
	p := k.perm >> ForOther
	switch {
	case c.UID == k.uid:
		p = k.perm >> ForUser
	case k.gid != noGroup && (c.GID == k.gid || slices.Contains(c.Groups, k.gid)):
		p = k.perm >> ForGroup
	}
	if p&right != 0 {
		return true
	}
	return k.perm>>ForPossessor&right != 0 && s.possesses(c, k.id)
}

const noGroup = ^uint32(0)

// possesses reports whether a key is found from c's keyring.
func (s *Store) possesses(c *Cred, id ID) bool {
	if c.Ring == 0 {
		return false
	}
	found := false
	s.walk(c.Ring, func(k *key) bool {
		found = k.id == id
		return !found
	})
	return found
}

// walk calls f with a keyring and what is in it, near ones first, each once, until f returns false.
func (s *Store) walk(ring ID, f func(*key) bool) {
	seen, queue := map[ID]bool{ring: true}, []ID{ring}
	for len(queue) > 0 {
		k := s.keys[queue[0]]
		queue = queue[1:]
		if k == nil {
			continue
		}
		if !f(k) {
			return
		}
		if k.revoked {
			continue
		}
		for _, m := range k.members {
			if !seen[m] {
				seen[m] = true
				queue = append(queue, m)
			}
		}
	}
}
