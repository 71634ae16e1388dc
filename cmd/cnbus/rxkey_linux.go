package main

import (
	"errors"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// kernelSecurity secures calls of this process with a key of its keyrings in the kernel.
func kernelSecurity(name string, level rxkad.Level) (rxrpc.ClientSecurity, error) {
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
	if len(cfg.Sources) == 0 {
		return nil, errors.Join(errs...)
	}
	store := keyring.New(cfg)
	me := keyring.Cred{}
	ring, err := store.NewKeyring(me, "cnbus")
	if err != nil {
		return nil, err
	}
	me.Ring = ring
	id, err := store.Request(me, keyring.TypeClient, name, ring)
	if err != nil {
		return nil, err
	}
	return store.Client(me, id, level)
}
