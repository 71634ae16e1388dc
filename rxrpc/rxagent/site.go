package rxagent

import (
	"context"
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// Site offers the agent to the other hosts of the site that the bus's broker has joined as number host, under that name:
// rxmsg.SiteID(host) is registered for all of them, until Close. The policy is asked for their clients as for those of this host; keys
// are those of the user that a client is here. The errors are those of connector.AddSiteCallback. It is called once; again where it has
// failed.
func (a *Agent) Site(ctx context.Context, host uint32, name string) error {
	if host == 0 || host > connector.MaxHost {
		return fmt.Errorf("rxrpc agent: host number %d, of 1 to %d: %w", host, connector.MaxHost, connector.ErrInvalid)
	}
	label := "rxrpc " + name
	label = label[:min(len(label), maxIDName)]
	err := connector.AddSiteCallback(ctx, a.bus, rxmsg.SiteID(host), label, connector.Inline(connector.HandlerFunc(a.handle)), connector.SiteOptions{
		Takeover: true, // nobody else may have that number
		Changed: func(s connector.SiteState, text string) {
			if s == connector.SiteLost {
				a.cfg.Logger.Error("another host offers this one's RxRPC", "host", host, "name", name, "why", text)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("rxrpc agent: %w", err)
	}
	a.mu.Lock()
	a.host = host
	closed := a.closed
	a.mu.Unlock()
	if closed {
		a.leaveSite(ctx)
	}
	return nil
}

// maxIDName is what Bus.AddCallback takes.
const maxIDName = 31

// leaveSite takes Site back.
func (a *Agent) leaveSite(ctx context.Context) {
	a.mu.Lock()
	host := a.host
	a.host = 0
	a.mu.Unlock()
	if host != 0 {
		_ = a.bus.DelCallback(ctx, rxmsg.SiteID(host)) // it goes with the bus at the latest
	}
}
