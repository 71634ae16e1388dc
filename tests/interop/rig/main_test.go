//go:build linux

package rig_test

import (
	"testing"

	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }
