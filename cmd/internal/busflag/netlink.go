package busflag

import (
	"context"
	"log/slog"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// netlinkCarrier is NETLINK_CONNECTOR in the caller's network namespace. It
// wants CAP_NET_ADMIN there, which unshare --user --map-root-user --net gives to
// everybody.
func netlinkCarrier(log *slog.Logger) *Carrier {
	return &Carrier{
		Where: "netlink of this network namespace", MaxGroup: nlconn.MaxGroup,
		open: func(context.Context, string) (connector.Bus, error) {
			b, err := nlconn.Open(&nlconn.Config{Log: log})
			if err != nil { // not b, whose nil would be no nil
				return nil, err
			}
			return b, nil
		},
	}
}
