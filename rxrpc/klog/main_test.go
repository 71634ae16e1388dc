package klog

import (
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
