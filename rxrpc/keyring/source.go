package keyring

import (
	"errors"
	"sync"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A KeySource has sockets (rxrpc.Socket, rxrpc.KernelService) look up what the options RXRPC_SECURITY_KEY and
// RXRPC_SECURITY_KEYRING name, in the keyrings of somebody:
//
//	source := &keyring.KeySource{Store: store, Cred: me}
//	socket, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Keys: source})
//	err = socket.SetSecurityKey("afs@example.com")
//
// Both are looked up from Cred.Ring on, as Request does. The keys may change while sockets use them:
//
// A socket's key is looked at with every call and every packet. An updated payload, and a key of the same description that was
// added when the first one was gone, expired or revoked, count from the next connection on; calls share
// connections as long as the payload is the same. A revoked or expired key ends the calls that still send (EKEYREVOKED, EKEYEXPIRED),
// new ones are refused with the same. (A socket of Linux keeps the key that it found first.)
//
// A server's keys are looked up with every ticket. A key that is added, changed or revoked in the keyring, or in one that is
// linked there, counts for the next connection. Connections whose clients have proven themselves go on, until their tickets
// expire.
type KeySource struct {
	Store *Store
	Cred  Cred
	// Server is what servers' classes are made with, besides Keys and MinLevel.
	Server rxkad.ServerConfig
}

var _ rxrpc.KeySource = (*KeySource)(nil)

// RequestKey finds a key of type rxrpc. nil is one with an empty payload: no security. Errors: those of Request.
func (k *KeySource) RequestKey(description string) (rxrpc.ClientKey, error) {
	id, err := k.Store.Request(k.Cred, TypeClient, description, 0)
	if err != nil {
		return nil, err
	}
	return &namedKey{k, description, sync.Mutex{}, id}, nil
}

// Key is RequestKey for a number. No other key takes the place of this one.
//
// Errors: ErrNoKey, ErrDenied (Search), ErrRevoked, ErrExpired, ErrRejected for another type of key.
func (k *KeySource) Key(id ID) (rxrpc.ClientKey, error) {
	if _, err := k.Store.Client(k.Cred, id, rxkad.Plain); err != nil {
		return nil, err
	}
	return &namedKey{k, "", sync.Mutex{}, id}, nil
}

// RequestKeyring finds a keyring. Errors: those of Request.
func (k *KeySource) RequestKeyring(description string) (rxrpc.ServerKeyring, error) {
	id, err := k.Store.Request(k.Cred, TypeKeyring, description, 0)
	if err != nil {
		return nil, err
	}
	return &serverRing{k, id}, nil
}

// A namedKey is the key that a socket's calls are secured with.
type namedKey struct {
	source      *KeySource
	description string

	mu sync.Mutex // guards id
	id ID
}

// Secure returns the security of a call. Errors: those of Store.Client.
func (n *namedKey) Secure(level uint8) (rxrpc.ClientSecurity, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.source
	sec, err := k.Store.Client(k.Cred, n.id, rxkad.Level(level))
	if err == nil {
		return sec, nil
	}
	if n.description == "" || !errors.Is(err, errno.NoKey) && !errors.Is(err, errno.KeyExpired) && !errors.Is(err, errno.KeyRevoked) {
		return nil, err
	}
	id, again := k.Store.Request(k.Cred, TypeClient, n.description, 0)
	if again != nil {
		return nil, err
	}
	n.id = id
	return k.Store.Client(k.Cred, id, rxkad.Level(level))
}

// String is the description, or the number.
func (n *namedKey) String() string {
	if n.description != "" {
		return n.description
	}
	return n.id.String()
}

// A serverRing is a keyring of a server.
type serverRing struct {
	source *KeySource
	id     ID
}

// Classes returns rxkad, with the keys that are in the keyring when a ticket comes.
func (r *serverRing) Classes(level uint8) []rxrpc.ServerSecurity {
	cfg := r.source.Server
	cfg.Keys, cfg.MinLevel = r.source.Store.ServerKeys(r.source.Cred, r.id), rxkad.Level(level)
	return []rxrpc.ServerSecurity{rxkad.NewServer(cfg)}
}
