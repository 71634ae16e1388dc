//go:build !linux

package main

import (
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc/klog"
)

func openKernelRing(string) (klog.Installer, error) {
	return nil, cli.Usagef("this system's kernel has no keyrings: --file")
}
