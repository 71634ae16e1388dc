package busbench

import (
	"context"
	"fmt"

	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/procevent"
)

// eventSource is a subscription of either kind.
type eventSource interface {
	Recv(ctx context.Context) (procevent.Event, error)
}

// subscribeEvents dials the kernel without an address, otherwise the broker there.
func subscribeEvents(ctx context.Context, at place) (eventSource, func(), error) {
	if at.Addr == "" {
		c, err := procevent.Dial(ctx, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("own subscription: %w", err)
		}
		return c, func() { _ = c.Close() }, nil
	}
	b, err := client.Dial(ctx, &client.Config{Socket: at.Addr, Name: "events"})
	if err != nil {
		return nil, nil, err
	}
	done := func() { _ = b.Close() }
	ep, err := b.Endpoint(ctx)
	if err != nil {
		done()
		return nil, nil, err
	}
	s, err := procevent.Subscribe(ctx, ep, procevent.Filter{})
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("subscription through the broker: %w", err)
	}
	return s, done, nil
}
