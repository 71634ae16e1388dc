//go:build linux

package interop

import (
	"strconv"
	"testing"

	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

func decimal(n int) string { return strconv.Itoa(n) }
