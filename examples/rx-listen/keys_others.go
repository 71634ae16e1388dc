//go:build !linux

package main

import "github.com/cnbus/cnbus/rxrpc"

// kernelKeys are none: there are no keyrings.
func kernelKeys() (rxrpc.KeySource, error) { return keysFrom() }
