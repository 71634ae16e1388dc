package main

import (
	"errors"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
)

// security is what the options of a socket say: RXRPC_SECURITY_KEY of a client, RXRPC_SECURITY_KEYRING of a server,
// RXRPC_MIN_SECURITY_LEVEL of both.
type security struct {
	key, keyring string
	level        uint
}

// set returns an open that sets the options of its sockets.
func (s security) set(open func() (socket, error)) func() (socket, error) {
	return func() (socket, error) {
		k, err := open()
		if err != nil {
			return nil, err
		}
		if s.key != "" {
			err = k.SetSecurityKey(s.key)
		}
		if err == nil && s.keyring != "" {
			err = k.SetSecurityKeyring(s.keyring)
		}
		if err == nil && s.level != 0 {
			err = k.SetMinSecurityLevel(uint32(s.level))
		}
		if err != nil {
			return nil, errors.Join(err, k.Close())
		}
		return k, nil
	}
}

// keysFrom returns where a socket of this process finds keys: a keyring of its own that others fill, as they are asked for.
func keysFrom(sources ...keyring.Source) (rxrpc.KeySource, error) {
	store := keyring.New(keyring.Config{Sources: sources})
	me := keyring.Cred{}
	ring, err := store.NewKeyring(me, "rx-listen")
	if err != nil {
		return nil, err
	}
	me.Ring = ring
	return &keyring.KeySource{Store: store, Cred: me}, nil
}
