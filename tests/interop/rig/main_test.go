//go:build linux

package rig_test

import (
	"testing"
	"time"

	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

func nowUnix() int64 { return time.Now().Unix() }
