//go:build !linux

package main

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

func kernelSecurity(string, rxkad.Level) (rxrpc.ClientSecurity, error) { return nil, syscall.ENOSYS }

func kernelKeyring(string, rxkad.Level) ([]rxrpc.ServerSecurity, error) { return nil, syscall.ENOSYS }
