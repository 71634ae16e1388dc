package rxkeys

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"

	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// The suite that payloads are sealed with: rxmsg.FlagSealed.
func kem() hpke.KEM   { return hpke.DHKEM(ecdh.X25519()) }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.ChaCha20Poly1305() }

// seal makes of a payload what only the agent can open that has the key pair of public.
func seal(public []byte, typ keyring.Type, description string, payload []byte) ([]byte, error) {
	pk, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("rxrpc keys: the agent's public key: %w", err)
	}
	return hpke.Seal(pk, kdf(), aead(), rxmsg.SealInfo(string(typ), description), payload)
}

// unseal is the reverse. What cannot be opened is EKEYREJECTED: it is for another agent, for another key, or damaged.
func (k *Keys) unseal(a *rxmsg.KeyAdd) ([]byte, error) {
	b, err := hpke.Open(k.pair, kdf(), aead(), rxmsg.SealInfo(a.Type, a.Description), a.Payload)
	if err != nil {
		return nil, fmt.Errorf("the payload is not sealed for this agent: %w", keyring.ErrRejected)
	}
	return b, nil
}
