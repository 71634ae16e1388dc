// Package testenv holds what the tests of several packages need to know of
// the machine that runs them.
package testenv

import (
	"os"
	"testing"
)

// Required reports whether every test must run: CNBUS_REQUIRE=all is set, as
// `make test` does.
func Required() bool { return os.Getenv("CNBUS_REQUIRE") == "all" }

// Skip skips the test for the given reason, or fails it where nothing may
// be skipped.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if Required() {
		t.Fatalf("must not be skipped here (CNBUS_REQUIRE=all): %s", reason)
	}
	t.Skip(reason)
}
