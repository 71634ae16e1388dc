package main

import (
	"errors"
	"syscall"

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
	all, err := openKernelRings()
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		ring, kerr := k.Keyring(name)
		if kerr == nil {
			return []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: ring, MinLevel: level})}, nil
		}
		if err == nil || !errors.Is(kerr, syscall.ENOKEY) {
			err = kerr
		}
	}
	return nil, err
}

// openKernelRings opens the keyrings of this process in the kernel, one at least.
func openKernelRings() (all []*keyring.Kernel, err error) {
	var errs []error
	for _, ring := range []int{keyring.SessionKeyring, keyring.UserSessionKeyring, keyring.UserKeyring} {
		k, err := keyring.OpenKernel(ring)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// kernelKeys are those that are in them.
func kernelKeys() (*keyring.Store, keyring.Cred, error) {
	me := keyring.Cred{}
	all, err := openKernelRings()
	if err != nil {
		return nil, me, err
	}
	cfg := keyring.Config{}
	for _, k := range all {
		cfg.Sources = append(cfg.Sources, k)
	}
	store := keyring.New(cfg)
	ring, err := store.NewKeyring(me, "cnbus")
	me.Ring = ring
	return store, me, err
}
