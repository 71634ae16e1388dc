//go:build !linux

package rxbench

import (
	"context"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

func openRival(context.Context, *cast, endArgs, func(netip.AddrPort) (netip.AddrPort, error)) (side, error) {
	return nil, &harness.Missing{What: "OpenAFS's Rx library, on Linux only"}
}

func rivalFCrypt(context.Context, string, time.Duration, int) (float64, uint64, error) {
	return 0, 0, &harness.Missing{What: "OpenAFS's librxkad, on Linux only"}
}

func newLine(*cast, netip.AddrPort, time.Duration, float64) (netip.AddrPort, error) {
	return netip.AddrPort{}, &harness.Missing{What: "the relay, on Linux only"}
}
