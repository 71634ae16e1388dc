package keyring

import (
	"strings"
	"sync"
	"time"
)

// Config is how a Store is made; zero values mean the defaults, which are Linux's.
type Config struct {
	MaxKeys  int // per user, default 200
	MaxBytes int // per user, of payloads and descriptions, default 20000
	// Quota, if it is set, says instead of these how much a user may have; negative: no limit.
	Quota    func(uid uint32) (keys, bytes int)
	MaxLinks int           // keys in a keyring, default 65536
	Grace    time.Duration // how long a key that is of no use says why, before it is collected; default 5 min
	Sources  []Source      // asked by Request for what is not there
	Now      func() time.Time
}

// Limits that cannot be changed.
const (
	maxDescription = 4095
	maxPayload     = 1<<20 - 1
	maxDepth       = 6 // of keyrings in keyrings
)

// A Store is a set of keys and keyrings. Its methods may be called from any goroutine.
type Store struct {
	cfg Config

	mu     sync.Mutex // guards what follows, and every key
	keys   map[ID]*key
	last   ID
	users  map[uint32]*usage
	nextGC time.Time
}

type usage struct{ keys, bytes int }

// New returns an empty Store.
func New(cfg Config) *Store {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&cfg.MaxKeys, 200)
	def(&cfg.MaxBytes, 20000)
	def(&cfg.MaxLinks, 65536)
	if cfg.Quota == nil {
		cfg.Quota = func(uint32) (int, int) { return cfg.MaxKeys, cfg.MaxBytes }
	}
	if cfg.Grace == 0 {
		cfg.Grace = 5 * time.Minute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{cfg: cfg, keys: map[ID]*key{}, users: map[uint32]*usage{}}
}

// begin locks and collects what is due.
func (s *Store) begin() (now time.Time, end func()) {
	s.mu.Lock()
	now = s.cfg.Now()
	if !now.Before(s.nextGC) {
		s.collect(now)
	}
	return now, s.mu.Unlock
}

// NewKeyring makes a keyring that is in no other and lives until Drop. Errors: ErrQuota, ErrInvalid.
func (s *Store) NewKeyring(c Cred, description string) (ID, error) {
	_, end := s.begin()
	defer end()
	k, err := s.make(&c, TypeKeyring, description, nil)
	if err != nil {
		return 0, fail("make", named(TypeKeyring, description), err)
	}
	k.anchored, k.perm = true, ringPerm
	return k.id, nil
}

// Drop lets go of a keyring that NewKeyring made: it goes, with all that is in no other. Errors: ErrNoKey, ErrDenied.
func (s *Store) Drop(c Cred, ring ID) error {
	_, end := s.begin()
	defer end()
	k, err := s.get(&c, ring, SetAttr)
	if err == nil {
		k.anchored = false
		s.release(k)
	}
	return fail("drop", ring.String(), err)
}

// Add adds a key to a keyring (add_key(2)). One of the same type and description that is in it gets the payload, if c
// may write it and it is of use; else the new one takes its place.
//
// Errors: ErrType, ErrInvalid, ErrRejected and ErrNoSupport of the payload, ErrNoKey, ErrNoRing, ErrRevoked and
// ErrExpired of the keyring, ErrDenied, ErrQuota, ErrFull.
func (s *Store) Add(c Cred, typ Type, description string, payload []byte, ring ID) (ID, error) {
	now, end := s.begin()
	defer end()
	id, err := s.add(now, &c, typ, description, payload, ring)
	return id, fail("add", named(typ, description), err)
}

func (s *Store) add(now time.Time, c *Cred, typ Type, description string, payload []byte, ring ID) (ID, error) {
	r, err := s.ring(now, c, ring, Write)
	if err != nil {
		return 0, err
	}
	if old := s.keys[r.index[name{typ, description}]]; old != nil && typ != TypeKeyring && old.state(now) == nil && s.may(c, old, Write) {
		return old.id, s.update(c, old, payload)
	}
	k, err := s.make(c, typ, description, payload)
	if err != nil {
		return 0, err
	}
	if err := s.link(k, r); err != nil {
		s.release(k)
		return 0, err
	}
	return k.id, nil
}

// make makes a key that is nowhere yet.
func (s *Store) make(c *Cred, typ Type, description string, payload []byte) (*key, error) {
	switch {
	case typ != TypeClient && typ != TypeServer && typ != TypeKeyring:
		return nil, ErrType
	case description == "" || len(description) > maxDescription || strings.IndexByte(description, 0) >= 0, len(payload) > maxPayload:
		return nil, ErrInvalid
	}
	k := &key{typ: typ, description: description, uid: c.UID, gid: c.GID, perm: defaultPerm, parents: map[ID]int{}, gate: &gate{}}
	if err := k.instantiate(payload); err != nil {
		return nil, err
	}
	k.gate.lives(k.expires)
	k.charge = len(description) + 1 + len(payload)
	if err := s.charge(c, k.uid, 1, k.charge); err != nil {
		k.wipe()
		return nil, err
	}
	s.last++
	k.id = s.last
	s.keys[k.id] = k
	if !k.expires.IsZero() {
		s.collectBy(k.expires.Add(s.cfg.Grace))
	}
	return k, nil
}

// charge accounts for keys and bytes of a user, which may be negative.
func (s *Store) charge(c *Cred, uid uint32, keys, bytes int) error {
	u := s.users[uid]
	if u == nil {
		u = &usage{}
		s.users[uid] = u
	}
	if c != nil && !c.Admin {
		maxKeys, maxBytes := s.cfg.Quota(uid)
		switch {
		case keys > 0 && maxKeys >= 0 && u.keys+keys > maxKeys:
			return &QuotaError{"keys", maxKeys}
		case bytes > 0 && maxBytes >= 0 && u.bytes+bytes > maxBytes:
			return &QuotaError{"bytes", maxBytes}
		}
	}
	u.keys += keys
	u.bytes += bytes
	if u.keys == 0 {
		delete(s.users, uid)
	}
	return nil
}

// Update replaces the payload of a key. Who uses it uses the new one from the next connection on. Errors: as of
// Add, and ErrNotHere for a keyring.
func (s *Store) Update(c Cred, id ID, payload []byte) error {
	now, end := s.begin()
	defer end()
	k, err := s.usable(now, &c, id, Write)
	if err == nil {
		err = s.update(&c, k, payload)
	}
	return fail("update", id.String(), err)
}

func (s *Store) update(c *Cred, k *key, payload []byte) error {
	if k.typ == TypeKeyring {
		return ErrNotHere
	}
	if len(payload) > maxPayload {
		return ErrInvalid
	}
	n := &key{typ: k.typ, description: k.description}
	if err := n.instantiate(payload); err != nil {
		return err
	}
	charge := len(k.description) + 1 + len(payload)
	if err := s.charge(c, k.uid, 0, charge-k.charge); err != nil {
		n.wipe()
		return err
	}
	k.charge = charge
	k.takePayload(n)
	if !k.expires.IsZero() {
		s.collectBy(k.expires.Add(s.cfg.Grace))
	}
	return nil
}

// get finds a key that c has a right to.
func (s *Store) get(c *Cred, id ID, right Perm) (*key, error) {
	k := s.keys[id]
	switch {
	case k == nil:
		return nil, ErrNoKey
	case !s.may(c, k, right):
		return nil, ErrDenied
	}
	return k, nil
}

// usable finds one that is neither revoked nor expired.
func (s *Store) usable(now time.Time, c *Cred, id ID, right Perm) (*key, error) {
	k := s.keys[id]
	if k == nil {
		return nil, ErrNoKey
	}
	if err := k.state(now); err != nil {
		return nil, err
	}
	return s.get(c, id, right)
}

// ring finds a keyring.
func (s *Store) ring(now time.Time, c *Cred, id ID, right Perm) (*key, error) {
	k, err := s.usable(now, c, id, right)
	if err == nil && k.typ != TypeKeyring {
		return nil, ErrNoRing
	}
	return k, err
}
