package busbench

import (
	"context"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// The large broker of the row of scale.
const (
	scaleClients = 1000
	scaleIDs     = 10_000
)

// atScale compares our broker's round trip among many registered ids and clients
// with that among few.
func atScale(row harness.Row) harness.Experiment {
	row.What = "round trip p50 with 10,000 registered ids and 1,000 clients, 128 bytes"
	row.Against, row.Unit = "10 ids, 2 clients", "us"
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			m := &tripsPair{cast: c}
			err := func() error {
				large, err := c.broker(ctx, sysBus)
				if err != nil {
					return err
				}
				// Two more clients and ten more ids are those of the round trips.
				const others = scaleClients - 2
				const each = scaleIDs / scaleClients
				_, err = c.start(ctx, roleCrowd, crowdArgs{At: large.place, Clients: others, Each: each, Topic: 100_000}, nil)
				if err != nil {
					return err
				}
				const rest = scaleIDs - others*each
				m.ours, err = openTrips(ctx, c, echoArgs{At: large.place, Topic: topicBase, Size: 128, More: rest - 1})
				if err != nil {
					return err
				}
				small, err := c.broker(ctx, sysBus)
				if err != nil {
					return err
				}
				m.rival, err = openTrips(ctx, c, echoArgs{At: small.place, Topic: topicBase, Size: 128, More: 9})
				return err
			}()
			if err != nil {
				_ = c.Close()
				return nil, err
			}
			return m, nil
		},
	}
}
