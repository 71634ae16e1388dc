//go:build !linux

package rxbench

import (
	"context"
	"net/netip"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

func openRival(context.Context, *cast, endArgs, func(netip.AddrPort) (netip.AddrPort, error)) (side, error) {
	return nil, &harness.Missing{What: "OpenAFS's Rx library, on Linux only"}
}
