package busbench

import (
	"context"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// historyKept is what the group keeps in the row that compares it on and off.
var historyKept = connector.History{Messages: 10_000, Bytes: 4 << 20}

// historyKeeper is the role that makes the group of a broker keep a history: its agent.
func historyKeeper(ctx context.Context, p *role.Proc) error {
	var at place
	if err := p.Args(&at); err != nil {
		return err
	}
	b, err := client.Dial(ctx, &client.Config{Socket: at.Addr, Name: "history"})
	if err != nil {
		return err
	}
	defer b.Close()
	c := &busConn{bus: b}
	if err := c.echo(ctx, 2); err != nil { // the owner of an id sets the history of its group
		return err
	}
	if err := connector.SetHistory(ctx, b, benchGroup, historyKept); err != nil {
		return err
	}
	return p.Serve(ctx, nil)
}

// historyCost compares the throughput of a group with a history and of one without.
func historyCost(row harness.Row) harness.Experiment {
	row.What, row.Against = "throughput of a group with history, 128 bytes", "the same without history"
	row.Unit, row.Higher = "msg/s", true
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			m := &ratePair{cast: c}
			open := func(history bool) (*rate, error) {
				h, err := c.broker(ctx, sysBus)
				if err != nil {
					return nil, err
				}
				if history {
					if _, err := c.start(ctx, roleHistory, h.place, nil); err != nil {
						return nil, err
					}
				}
				return openRate(ctx, c, flowArgs{At: h.place, Subs: 1, Group: benchGroup, Size: 128})
			}
			var err error
			if m.rival, err = open(false); err == nil {
				m.ours, err = open(true)
			}
			if err != nil {
				_ = c.Close()
				return nil, err
			}
			return m, nil
		},
	}
}
