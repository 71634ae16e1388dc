package tsagent

import (
	"context"

	"github.com/cnbus/cnbus/connector"
)

// portBus is connector.PortBus.
type portBus interface {
	FollowPort(ctx context.Context, port uint32, gone func()) (stop func(), err error)
}

func followPort(ctx context.Context, b connector.Bus, port uint32, gone func()) (stop func(), err error) {
	if p, ok := b.(portBus); ok {
		return p.FollowPort(ctx, port, gone)
	}
	return nil, &connector.OpError{Op: "follow", Port: port, Err: connector.ErrNotSupported}
}
