package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// openAgents opens the carrier, and starts the agents that cfg has if nobody else does: on a carrier within this process.
func (e *env) openAgents(ctx context.Context, cfg agents.Config) (*busflag.Carrier, *agents.Agents, error) {
	c, err := e.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !c.Registry {
		c.Close()
		return nil, nil, fmt.Errorf("%s has no agents: %w", c.Where, connector.ErrNotSupported)
	}
	if !c.Own {
		return c, &agents.Agents{}, nil
	}
	cfg.Open = func(ctx context.Context) (connector.Bus, error) { return c.Open(ctx, "cn-test agents") }
	cfg.Log = e.app.Log(slog.LevelWarn)
	a := agents.Start(ctx, cfg)
	for _, err := range []error{a.Sock.Err, a.Rx.Err} {
		if err != nil && !errors.Is(err, agents.ErrOff) {
			a.Stop()
			c.Close()
			return nil, nil, err
		}
	}
	return c, a, nil
}

// explainMissing says of an agent that is not there, or went away meanwhile, what that means here.
func explainMissing(err error, what string) error {
	if errors.Is(err, connector.ErrNoID) {
		return fmt.Errorf("the broker has no %s agent: %w", what, err)
	}
	return explainGone(err, what)
}

// explainGone says of an agent that went away what that means here.
func explainGone(err error, what string) error {
	for _, gone := range []error{tsagent.ErrDown, rxclient.ErrDown, connector.ErrInterrupted} {
		if errors.Is(err, gone) {
			return fmt.Errorf("the broker, or its %s agent, went away: %w: %w", what, err, cli.ErrNoAnswer)
		}
	}
	return err
}

// mark fills b with what can be told from anything else: bytes that n and their place determine.
func mark(b []byte, n uint64) {
	x := n*0x9e3779b97f4a7c15 + 1
	for i := range b {
		if i%8 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		b[i] = byte(x >> (8 * (i % 8)))
	}
}

// rate is bytes a second for people.
func rate(n uint64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return cli.Bytes(uint64(float64(n)/d.Seconds())) + "/s"
}
