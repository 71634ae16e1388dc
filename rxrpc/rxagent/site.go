package rxagent

import (
	"context"

	"github.com/cnbus/cnbus/connector"
)

// Site offers the agent to the other hosts of the site that the bus's broker has joined as number host, under that name:
// rxmsg.SiteID(host) is registered for all of them, until Close. The policy is asked for their clients as for those of this host; keys
// are those of the user that a client is here. The errors are those of connector.SiteAgent.Offer; where it has failed it can be called
// again.
func (a *Agent) Site(ctx context.Context, host uint32, name string) error {
	return a.site.Offer(ctx, host, name, connector.Inline(connector.HandlerFunc(a.handle)))
}
