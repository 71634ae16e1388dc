package busflag

import (
	"context"

	"github.com/cnbus/cnbus/connector"
)

// echo answers with what it was asked.
type echo struct{}

func (echo) Handle(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) }
