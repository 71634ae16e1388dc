package rxclient

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A Key names a key that the agent keeps for this user: it secures calls (rxrpc.ClientConfig.Security). The key itself never comes here.
type Key struct {
	description string
	level       uint32 // least, as OptMinSecurityLevel has it
}

// NamedKey returns the key with that description, "afs@example.org".
func NamedKey(description string) *Key { return &Key{description: description} }

// At returns the key for calls that are secured at a level; without it that is the class's least.
func (k *Key) At(level rxkad.Level) *Key { return &Key{k.description, uint32(level)} }

// A Keyring names a keyring of the agent with the keys of a server (rxrpc.ServerConfig.Security).
type Keyring struct {
	description string
	level       uint32 // least that clients may choose
}

// NamedKeyring returns the keyring with that description.
func NamedKeyring(description string) *Keyring { return &Keyring{description: description} }

// At returns the keyring for a server whose clients must secure their calls at that level at least. Those without security are
// another matter: rxrpc.ServerConfig.Secured.
func (k *Keyring) At(level rxkad.Level) *Keyring { return &Keyring{k.description, uint32(level)} }

var (
	_ rxrpc.ClientSecurity = (*Key)(nil)
	_ rxrpc.ServerSecurity = (*Keyring)(nil)

	errAgents     = errors.New("the key is the agent's: it secures calls over the bus only")
	errForeignKey = errors.New("calls over the bus are secured by keys of the agent: rxclient.NamedKey")
)

// String returns the description.
func (k *Key) String() string { return k.description }

// String returns the description.
func (k *Keyring) String() string { return k.description }

// Index is of rxrpc.ClientSecurity. Which class it is the agent knows.
func (k *Key) Index() wire.SecurityIndex { return wire.SecurityNone }

// Key is of rxrpc.ClientSecurity.
func (k *Key) Key() any { return *k }

// NewClient is of rxrpc.ClientSecurity: it is not for endpoints that run the protocol themselves.
func (k *Key) NewClient(proto.ConnID) (proto.SecurityConn, error) {
	return nil, fmt.Errorf("key %q: %w", k.description, errAgents)
}

// Index is of rxrpc.ServerSecurity.
func (k *Keyring) Index() wire.SecurityIndex { return wire.SecurityNone }

// NewServer is of rxrpc.ServerSecurity: it is not for endpoints that run the protocol themselves.
func (k *Keyring) NewServer(proto.ConnID) (proto.SecurityConn, error) {
	return nil, fmt.Errorf("keyring %q: %w", k.description, errAgents)
}
