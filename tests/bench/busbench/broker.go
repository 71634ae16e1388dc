package busbench

import (
	"context"
	"errors"
	"log/slog"
	"os"

	cnbroker "github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/procevent"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// brokerArgs are the arguments of the role broker.
type brokerArgs struct {
	Socket string
	Events bool // with the agent of the kernel's process events
}

// broker is the role of our broker as `cnbus serve` runs it: limits, policy,
// counters and credentials as they are by default.
func broker(ctx context.Context, p *role.Proc) error {
	var a brokerArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	b, err := cnbroker.New(&cnbroker.Config{Socket: a.Socket, Log: log})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	// The broker outlives its agents, also when ctx ends.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { served <- b.Serve(serving) }()
	err = serveAgents(ctx, p, b, a, log)
	cancel()
	return errors.Join(err, <-served)
}

// serveAgents runs what lives in the broker's process, and then the role.
func serveAgents(ctx context.Context, p *role.Proc, b *cnbroker.Broker, a brokerArgs, log *slog.Logger) error {
	if a.Events {
		bus, err := client.Dial(ctx, &client.Config{Name: "cnbus serve", Conn: b.Conn, Logger: log})
		if err != nil {
			return err
		}
		defer bus.Close()
		agent, err := procevent.NewAgent(ctx, bus, &procevent.AgentConfig{Logger: log})
		if err != nil {
			return err
		}
		defer agent.Close()
	}
	return p.Serve(ctx, nil)
}
