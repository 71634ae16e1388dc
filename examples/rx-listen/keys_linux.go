package main

import (
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
)

// kernelKeys are the keys of the kernel's user keyring; none where there is no such thing.
func kernelKeys() (rxrpc.KeySource, error) {
	ring, err := keyring.OpenKernel(keyring.UserKeyring)
	if err != nil {
		return keysFrom()
	}
	return keysFrom(ring)
}
