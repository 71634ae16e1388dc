package rxkeys

import (
	"context"
	"crypto/hpke"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Config says how Keys are kept. nil, and zero values, mean the defaults.
type Config struct {
	// Store is how keys are kept, with the limits of each user: Linux's, 200 keys of 20000 bytes in all. Root has none.
	Store keyring.Config
	// Server is what the classes of servers are made with, besides their keys and the least level.
	Server rxkad.ServerConfig
}

// Keys are the keys of all users. It is what rxagent.Config.Keys wants.
type Keys struct {
	store  *keyring.Store
	server rxkad.ServerConfig
	pair   hpke.PrivateKey // that payloads are sealed for on their way

	mu    sync.Mutex // guards users
	users map[uint32]*user
}

// A user has a keyring, as long as there are processes of his, or keys.
type user struct {
	ring  keyring.ID
	ports map[uint32]bool
}

// New makes a store for the keys of the users of a bus. It panics if there are no random numbers, as crypto/rand does.
func New(cfg *Config) *Keys {
	var c Config
	if cfg != nil {
		c = *cfg
	}
	pair, err := kem().GenerateKey()
	if err != nil {
		panic("rxrpc keys: " + err.Error())
	}
	return &Keys{store: keyring.New(c.Store), server: c.Server, pair: pair, users: make(map[uint32]*user)}
}

// root is who manages the keys of everybody.
const root = 0

// cred returns whose rights count for a client, with its keyring, which is made if there is none.
func (k *Keys) cred(who connector.From) (keyring.Cred, error) {
	c := keyring.Cred{UID: who.Cred.UID, GID: who.Cred.GID, Admin: who.Cred.UID == root}
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.users[c.UID]
	if u != nil {
		if info, err := k.store.Describe(keyring.Cred{Admin: true}, u.ring); err != nil || info.Revoked {
			_ = k.store.Drop(keyring.Cred{Admin: true}, u.ring)
			u.ring = 0
		}
	}
	if u == nil || u.ring == 0 {
		ring, err := k.store.NewKeyring(c, "_uid."+strconv.FormatUint(uint64(c.UID), 10))
		if err != nil {
			return c, err
		}
		if u == nil {
			u = &user{ports: make(map[uint32]bool)}
			k.users[c.UID] = u
		}
		u.ring = ring
	}
	u.ports[who.Port] = true
	c.Ring = u.ring
	return c, nil
}

// Gone forgets a client; the keyring of a user goes with the last one, if it is empty.
func (k *Keys) Gone(who connector.From) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.users[who.Cred.UID]
	if u == nil {
		return
	}
	delete(u.ports, who.Port)
	if len(u.ports) > 0 {
		return
	}
	admin := keyring.Cred{Admin: true}
	if ids, err := k.store.List(admin, u.ring); err == nil && len(ids) > 0 {
		return
	}
	_ = k.store.Drop(admin, u.ring)
	delete(k.users, who.Cred.UID)
}

// Source finds keys for the sockets of a client: in the user's keyring.
func (k *Keys) Source(who connector.From) rxrpc.KeySource {
	c, err := k.cred(who)
	if err != nil {
		return noSource{err}
	}
	return k.source(c)
}

func (k *Keys) source(c keyring.Cred) *keyring.KeySource {
	return &keyring.KeySource{Store: k.store, Cred: c, Server: k.server}
}

// noSource is that of a user who has no keyring.
type noSource struct{ err error }

func (n noSource) RequestKey(string) (rxrpc.ClientKey, error)         { return nil, n.err }
func (n noSource) RequestKeyring(string) (rxrpc.ServerKeyring, error) { return nil, n.err }

// Key finds a key of a client by its number.
func (k *Keys) Key(_ context.Context, who connector.From, number uint32) (rxrpc.ClientKey, error) {
	c, err := k.cred(who)
	if err != nil {
		return nil, err
	}
	id, err := k.visible(c, number)
	if err != nil {
		return nil, err
	}
	return k.source(c).Key(id)
}

// visible returns the key of a number, which for who may not see it is as if there were none.
func (k *Keys) visible(c keyring.Cred, number uint32) (keyring.ID, error) {
	id := keyring.ID(number)
	_, err := k.store.Describe(c, id)
	if err != nil {
		return 0, noKey(number)
	}
	return id, nil
}

func noKey(number uint32) error { return fmt.Errorf("key %d: %w", number, keyring.ErrNoKey) }

// ringOf returns the keyring of a number, 0 being the user's.
func (k *Keys) ringOf(c keyring.Cred, number uint32) (keyring.ID, error) {
	if number == 0 {
		return c.Ring, nil
	}
	return k.visible(c, number)
}

// ringOfUser returns the keyring of a user, whom only root can ask about.
func (k *Keys) ringOfUser(c keyring.Cred, uid uint32) (keyring.ID, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.users[uid]
	if u == nil || !c.Admin && uid != c.UID {
		return 0, fmt.Errorf("keyring of uid %d: %w", uid, keyring.ErrNoKey)
	}
	return u.ring, nil
}

// isUserRing reports whether a keyring is that of a user, and not one that somebody has added.
func (k *Keys) isUserRing(id keyring.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, u := range k.users {
		if u.ring == id {
			return true
		}
	}
	return false
}

// timeout lets a key that was just added expire earlier than its tickets.
func (k *Keys) timeout(c keyring.Cred, id keyring.ID, seconds uint32) error {
	if seconds == 0 {
		return nil
	}
	d := time.Duration(seconds) * time.Second
	if info, err := k.store.Describe(c, id); err == nil && !info.Expires.IsZero() && time.Until(info.Expires) < d {
		return nil
	}
	return k.store.SetTimeout(c, id, d)
}

// isNoKey reports whether an error says that there is no such key.
func isNoKey(err error) bool { return errors.Is(err, errno.NoKey) }
