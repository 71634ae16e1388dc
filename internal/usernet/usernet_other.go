//go:build !linux

// Package usernet runs a test in another process of the same binary; only Linux
// has the namespaces for it.
package usernet

import (
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

// Inside reports false.
func Inside(testing.TB) bool { return false }

// Private skips the test.
func Private(t *testing.T, _ func(t *testing.T)) { testenv.Skip(t, "no namespaces on this system") }

// As skips the test.
func As(t *testing.T, _ uint32, _ func(t *testing.T)) {
	testenv.Skip(t, "no namespaces on this system")
}

// NewNet skips the test.
func NewNet(t *testing.T, _ func(t *testing.T)) { testenv.Skip(t, "no namespaces on this system") }
