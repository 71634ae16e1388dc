package keyring

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// Client returns the security of calls with a key of type rxrpc, at a level: nil for a key with an empty payload, which
// stands for no security. What the key is then, and whether it still is, is looked up with each
// new connection; calls share connections as long as its payload stays the same.
//
// Errors: ErrNoKey, ErrDenied (Search), ErrRevoked, ErrExpired, ErrRejected for another type of key.
func (s *Store) Client(c Cred, id ID, level rxkad.Level) (proto.ClientSecurity, error) {
	now, end := s.begin()
	defer end()
	k, err := s.usable(now, &c, id, Search)
	switch {
	case err != nil:
	case k.typ != TypeClient || level > rxkad.Encrypt:
		err = ErrRejected
	case len(k.tokens) == 0:
		return nil, nil
	default:
		return &client{s, k, level}, nil
	}
	return nil, fail("use", id.String(), err)
}

// A client is a key in use.
type client struct {
	s     *Store
	k     *key
	level rxkad.Level
}

func (c *client) Index() wire.SecurityIndex { return wire.SecurityRxKAD }

// sharedBy is what connections are shared by.
type sharedBy struct {
	k          *key
	generation uint64
	level      rxkad.Level
}

func (c *client) Key() any {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return sharedBy{c.k, c.k.generation, c.level}
}

// NewClient begins a connection with the key as it is now.
func (c *client) NewClient(id proto.ConnID) (proto.SecurityConn, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	err := c.k.state(c.s.cfg.Now())
	if err == nil && len(c.k.tokens) == 0 {
		err = ErrRejected
	}
	var sec *rxkad.Client
	if err == nil {
		sec, err = rxkad.NewClient(c.k.tokens[0].Token, c.level)
	}
	if err != nil {
		return nil, fail("use", named(c.k.typ, c.k.description), err)
	}
	conn, err := sec.NewClient(id)
	if err != nil {
		return nil, err
	}
	return &clientConn{conn, conn.(proto.BatchSealer), c.s, c.k.gate, named(c.k.typ, c.k.description)}, nil
}

// A gate tells connections that have begun with a key that it is of no use any more: Linux looks at the key with every
// packet that a client sends (rxkad_secure_packet), and so do they.
type gate struct {
	revoked atomic.Bool
	expires atomic.Int64 // unix seconds, 0: does not
}

func (g *gate) lives(until time.Time) {
	at := int64(0)
	if !until.IsZero() {
		at = until.Unix()
	}
	g.expires.Store(at)
}

func (g *gate) check(now func() time.Time) error {
	if g.revoked.Load() {
		return ErrRevoked
	}
	if at := g.expires.Load(); at != 0 && now().Unix() >= at {
		return ErrExpired
	}
	return nil
}

// A clientConn is a connection that is begun with a key.
type clientConn struct {
	proto.SecurityConn
	many proto.BatchSealer
	s    *Store
	gate *gate
	key  string
}

func (c *clientConn) usable() error { return fail("use", c.key, c.gate.check(c.s.cfg.Now)) }

// Stretch is the class's.
func (c *clientConn) Stretch() int {
	if t, ok := c.SecurityConn.(proto.Stretcher); ok {
		return t.Stretch()
	}
	return 0
}

func (c *clientConn) Seal(dst []byte, p proto.PacketID, data []byte) ([]byte, wire.Checksum, error) {
	if err := c.usable(); err != nil {
		return dst, 0, err
	}
	return c.SecurityConn.Seal(dst, p, data)
}

func (c *clientConn) SealMany(packets []proto.Sealing) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.many.SealMany(packets)
}

func (c *clientConn) Respond(dst, challenge []byte, calls [wire.Channels]wire.CallNumber) ([]byte, error) {
	if err := c.usable(); err != nil {
		return dst, err
	}
	return c.SecurityConn.Respond(dst, challenge, calls)
}

func (c *client) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "keyring client (%s, %v)", named(c.k.typ, c.k.description), c.level)
}

// ServerKeys returns the keys of type rxrpc_s that c finds in a keyring: those of a description with version and type, or
// for DES keys also SERVICE:2, which counts for any version, as in Linux. They can change at any time.
func (s *Store) ServerKeys(c Cred, ring ID) rxkad.Keys {
	return rxkad.KeysFunc(func(q rxkad.KeyQuery) (rxkad.Key, error) {
		now, end := s.begin()
		defer end()
		description := describeService(q, false)
		k, err := s.search(now, &c, ring, TypeServer, description)
		if err == ErrNoKey && q.EncType == rxkad.DES {
			description = describeService(q, true)
			k, err = s.search(now, &c, ring, TypeServer, description)
		}
		if err != nil {
			return rxkad.Key{}, fail("use", named(TypeServer, description), err)
		}
		return k.secret, nil
	})
}
