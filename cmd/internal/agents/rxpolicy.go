package agents

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// rxPolicy asks the broker's policy what the RxRPC agent may do for whom.
type rxPolicy struct{ allow Allow }

// Call implements rxagent.Policy.
func (p rxPolicy) Call(who connector.From, to rxrpc.Addr) error {
	return p.allow(who, broker.Access{Action: broker.RxCall, Addr: to.Addr, Service: to.Service})
}

// Listen implements rxagent.Policy.
func (p rxPolicy) Listen(who connector.From, local rxrpc.Addr) error {
	return p.allow(who, broker.Access{Action: broker.RxListen, Addr: local.Addr, Service: local.Service})
}

// keyPolicy asks before keys are used.
type keyPolicy struct {
	rxagent.Keys
	allow Allow
	quota Quota // may be nil
}

// Words of a policy for what a client does with its keys.
const (
	keyUse      = "use"
	keyAdd      = "add"
	keyList     = "list"
	keyDescribe = "describe"
	keyRevoke   = "revoke"
	keyUnlink   = "unlink"
)

// keyOps says by which word each operation is allowed: what finds keys is to list them, what changes one to add
// it, what takes keys out of a keyring to unlink them.
var keyOps = map[rxmsg.Op]string{
	rxmsg.OpKeyAdd: keyAdd, rxmsg.OpKeyLink: keyAdd, rxmsg.OpKeyTimeout: keyAdd, rxmsg.OpKeySetPerm: keyAdd,
	rxmsg.OpKeySeal: keyAdd, rxmsg.OpKeySearch: keyList, rxmsg.OpKeyList: keyList, rxmsg.OpKeyKeyring: keyList,
	rxmsg.OpKeyDescribe: keyDescribe, rxmsg.OpKeyRevoke: keyRevoke,
	rxmsg.OpKeyUnlink: keyUnlink, rxmsg.OpKeyClear: keyUnlink,
}

func (k keyPolicy) may(who connector.From, word string) error {
	return k.allow(who, broker.Access{Action: broker.RxKey, Key: word})
}

// Do implements rxagent.Keys.
func (k keyPolicy) Do(ctx context.Context, who connector.From, h rxmsg.Header, body []byte) (value uint32, reply []byte, err error) {
	word := keyOps[h.Op]
	if word == "" {
		word = keyAdd // one that is not known here
	}
	if err := k.may(who, word); err != nil {
		return 0, nil, err
	}
	value, reply, err = k.Keys.Do(ctx, who, h, body)
	var e *keyring.QuotaError
	if k.quota != nil && errors.As(err, &e) {
		k.quota.Exceeded(who.Cred, map[string]string{"keys": "rx_keys", "bytes": "rx_key_bytes"}[e.What], int64(e.Limit))
	}
	return value, reply, err
}

// Key implements rxagent.Keys.
func (k keyPolicy) Key(ctx context.Context, who connector.From, number uint32) (rxrpc.ClientKey, error) {
	if err := k.may(who, keyUse); err != nil {
		return nil, err
	}
	return k.Keys.Key(ctx, who, number)
}

// Source implements rxagent.Keys.
func (k keyPolicy) Source(who connector.From) rxrpc.KeySource {
	return keySource{k.Keys.Source(who), func() error { return k.may(who, keyUse) }}
}

type keySource struct {
	rxrpc.KeySource
	may func() error
}

// RequestKey implements rxrpc.KeySource.
func (s keySource) RequestKey(description string) (rxrpc.ClientKey, error) {
	if err := s.may(); err != nil {
		return nil, err
	}
	return s.KeySource.RequestKey(description)
}

// RequestKeyring implements rxrpc.KeySource.
func (s keySource) RequestKeyring(description string) (rxrpc.ServerKeyring, error) {
	if err := s.may(); err != nil {
		return nil, err
	}
	return s.KeySource.RequestKeyring(description)
}
