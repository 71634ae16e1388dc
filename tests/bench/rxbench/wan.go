package rxbench

import (
	"context"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// wan compares one call with much data over a long line: half of the round trip, and of the loss,
// is added each way by a relay of its own for each side.
func wan(row harness.Row, rtt time.Duration, loss float64, bytes, quick int) harness.Experiment {
	row.Against, row.Unit, row.Higher = peers, "KB/s", true
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			through := func(target netip.AddrPort) (netip.AddrPort, error) { return newLine(c, target, rtt/2, loss) }
			run := func(ctx context.Context, n int) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.bulk(ctx, false, uint64(n)) }
			}
			d, err := openDuelIn(ctx, c, endArgs{}, through, func(s side) error {
				_, err := run(ctx, 10_000)(s)
				return err
			})
			if err != nil {
				return nil, err
			}
			return meterFunc{c, func(ctx context.Context, round int) ([]harness.Pair, error) {
				mine, rival, err := d.both(round, 1, run(ctx, env.Pick(bytes, quick)))
				return []harness.Pair{{Ours: mine.rate() / 1e3, Rival: rival.rate() / 1e3}}, err
			}}, nil
		},
	}
}
