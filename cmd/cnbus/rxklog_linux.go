package main

import (
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/klog"
)

var kernelRings = map[string]int{
	"user": keyring.UserKeyring, "session": keyring.SessionKeyring, "user-session": keyring.UserSessionKeyring,
}

func openKernelRing(name string) (klog.Installer, error) {
	id, ok := kernelRings[name]
	if !ok {
		return nil, cli.Usagef("--keyring %q: user, session, user-session or none", name)
	}
	return keyring.OpenKernel(id)
}
