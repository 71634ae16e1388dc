package main

import (
	"errors"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// kernelSecurity secures calls of this process with a key of its keyrings in the kernel.
func kernelSecurity(name string, level rxkad.Level) (rxrpc.ClientSecurity, error) {
	store, me, err := kernelKeys()
	if err != nil {
		return nil, err
	}
	id, err := store.Request(me, keyring.TypeClient, name, me.Ring)
	if err != nil {
		return nil, err
	}
	return store.Client(me, id, level)
}

// kernelKeyring secures a server of this process with the keys in a keyring that is in one of its keyrings in the kernel.
func kernelKeyring(name string, level rxkad.Level) ([]rxrpc.ServerSecurity, error) {
	store, me, err := kernelKeys()
	if err != nil {
		return nil, err
	}
	ring, err := (&keyring.KeySource{Store: store, Cred: me}).RequestKeyring(name)
	if err != nil {
		return nil, err
	}
	return ring.Classes(uint8(level)), nil
}

// kernelKeys are the keyrings of this process in the kernel.
func kernelKeys() (*keyring.Store, keyring.Cred, error) {
	cfg := keyring.Config{}
	var errs []error
	for _, ring := range []int{keyring.SessionKeyring, keyring.UserSessionKeyring, keyring.UserKeyring} {
		k, err := keyring.OpenKernel(ring)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cfg.Sources = append(cfg.Sources, k)
	}
	me := keyring.Cred{}
	if len(cfg.Sources) == 0 {
		return nil, me, errors.Join(errs...)
	}
	store := keyring.New(cfg)
	ring, err := store.NewKeyring(me, "cnbus")
	me.Ring = ring
	return store, me, err
}
