package rig

import (
	"testing"

	"github.com/cnbus/cnbus/tests/interop/relay"
)

// Relay starts a bad network to cfg.Target and ends it at the end of the test, where it
// says what it did if the test has failed.
func Relay(t testing.TB, cfg relay.Config) *relay.Relay {
	t.Helper()
	r, err := relay.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			up, down := r.Stats()
			t.Logf("relay with seed %d: up %+v, down %+v", cfg.Seed, up, down)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
