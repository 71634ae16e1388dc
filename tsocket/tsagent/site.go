package tsagent

import (
	"context"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// SiteID is the id at which the sockets of a host are to be had on the whole site (docs/hosts.md), if the host offers them; 0 is the
// host that one is on.
func SiteID(host uint32) cbid.ID {
	if host == 0 {
		return cbid.TSocket
	}
	return cbid.Make(cbid.TSocketSiteIdx, host)
}

// Site offers the agent to the other hosts of the site that the bus's broker has joined as number host, under that name:
// SiteID(host) is registered for all of them, until Close. The policy is asked for their clients as for those of this host. The errors are
// those of connector.AddSiteCallback. It is called once; again where it has failed.
func (a *Agent) Site(ctx context.Context, host uint32, name string) error {
	if host == 0 || host > connector.MaxHost {
		return fmt.Errorf("tsocket agent: host number %d, of 1 to %d: %w", host, connector.MaxHost, connector.ErrInvalid)
	}
	label := Name + " " + name
	label = label[:min(len(label), maxIDName)]
	err := connector.AddSiteCallback(ctx, a.bus, SiteID(host), label, connector.Inline(handler{a}), connector.SiteOptions{
		Takeover: true, // nobody else may have that number
		Changed: func(s connector.SiteState, text string) {
			if s == connector.SiteLost {
				a.cfg.Logger.Error("another host offers this one's sockets", "host", host, "name", name, "why", text)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("tsocket agent: %w", err)
	}
	a.mu.Lock()
	a.host = host
	ending := a.ending
	a.mu.Unlock()
	if ending {
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
		_ = a.bus.DelCallback(ctx, SiteID(host)) // it goes with the bus at the latest
	}
}
