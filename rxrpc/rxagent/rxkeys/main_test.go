package rxkeys_test

import (
	"net/netip"
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func TestMain(m *testing.M) { testenv.Main(m) }
