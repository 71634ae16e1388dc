package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/cnbus/cnbus/connector/broker"
)

// The policies that need no file.
const (
	policyUser   = "user"
	policySystem = "system"
)

// policyName is the built-in policy that is wanted, "" for a file.
func (f *serveFlags) policyName() string {
	switch {
	case f.policy == policyUser, f.policy == policySystem:
		return f.policy
	case f.policy != "":
		return ""
	case os.Geteuid() == 0:
		return policySystem
	}
	return policyUser
}

// loadPolicy returns the policy that --policy names.
func (f *serveFlags) loadPolicy() (*broker.Policy, error) {
	switch f.policyName() {
	case policyUser:
		return broker.UserPolicy(), nil
	case policySystem:
		return broker.SystemPolicy(), nil
	}
	return broker.LoadPolicy(f.policy)
}

// reload reads the policy file again. A file at fault leaves the old one in force.
func reload(ctx context.Context, b *broker.Broker, f *serveFlags, log *slog.Logger) {
	done := systemdReloading()
	defer done()
	if err := f.tls.load(); err != nil {
		log.Error("certificates for TLS not read again, the old ones stay in use", "err", err)
	}
	p, err := f.loadPolicy()
	if err == nil {
		err = b.Reload(ctx, p)
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			log.Error("policy not reloaded, the old one stays in force", "err", err)
		}
		return
	}
	log.Info("policy reloaded", "policy", cmp.Or(f.policyName(), f.policy), "rules", len(p.Rules))
}
