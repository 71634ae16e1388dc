package tsagent

import (
	"context"

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
// those of connector.SiteAgent.Offer; where it has failed it can be called again.
func (a *Agent) Site(ctx context.Context, host uint32, name string) error {
	return a.site.Offer(ctx, host, name, connector.Inline(handler{a}))
}
