package loopback_test

import (
	"io"
	"log/slog"
	"testing"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/loopback"
)

type site struct{ hub *loopback.Hub }

func newSite(_ testing.TB, opt bustest.SiteOptions) bustest.Site {
	c := &loopback.Config{
		Callbacks: opt.Limits.Callbacks, Endpoints: opt.Limits.Endpoints, Memberships: opt.Limits.Memberships,
		Watches: opt.Limits.Watches, Follows: opt.Limits.Follows, NotifyRequests: opt.Limits.Notifies,
		WatchBacklog: 8,
		Log:          slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if opt.Small {
		c.QueueBytes, c.CallbackBytes = 128<<10, 64<<10
	}
	return site{loopback.New(c)}
}

func (s site) Bus(testing.TB, bustest.BusOptions) connector.Bus { return s.hub.Open() }
func (s site) Close()                                           {}

func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Carrier{Name: "loopback", Caps: bustest.All(), New: newSite, Flood: 200})
}
