package procevent

import (
	"context"
	"encoding/binary"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// FirstSiteGroup is the first group number that agents give to filters for the hosts of a site. Host
// number N has those from FirstSiteGroup + 32768 N on, so that two hosts never have the same; those of filters
// for one host alone are below.
const FirstSiteGroup = 0x78000000

const (
	siteGroups = 1 << 15 // of each host
	maxSiteArg = 512     // bytes of the arguments of a process behind an event
)

// siteOrder is the byte order between hosts.
var siteOrder = binary.LittleEndian

// SiteID is the id at which the process events of a host are to be had on the whole site.
func SiteID(host uint32) cbid.ID { return cbid.Make(cbid.ProcSiteIdx, host) }

// StaysHome reports whether group is one of an agent's that no other host may hear: the kernel's, and those of
// filters for the host alone, whose numbers are no other host's business.
func StaysHome(group uint32) bool {
	return group == Group || group >= FirstFilterGroup && group < FirstSiteGroup
}

// Site offers the events to the other hosts of the site that the bus's broker has joined as number host, under that
// name: SiteID(host) is registered for all of them, until Close. The kernel is subscribed to only while somebody
// anywhere listens. The errors are those of connector.SiteAgent.Offer; where it has failed it can be called again.
func (a *Agent) Site(ctx context.Context, host uint32, name string) error {
	if err := a.do(ctx, func() { a.loop.host = host }); err != nil { // before anybody can ask for a group
		return err
	}
	return a.site.Offer(ctx, host, name, &siteHandler{a: a, name: name})
}

// siteHandler is the callback of SiteID.
type siteHandler struct {
	a    *Agent
	name string
}

// Handle answers a SUBSCRIBE of any host; nothing else is known here.
func (h *siteHandler) Handle(ctx context.Context, d *connector.Delivery) {
	c, err := parseControl(d.Msg.Data, siteOrder)
	var group uint32
	if err == nil {
		group, err = h.a.control(ctx, d, &c, true)
	}
	answer := appendAnswer(nil, errnoFor(err), group, sinceBoot(), siteOrder)
	h.a.answer(ctx, d, append(answer, h.name...), err)
}

// postSite sends an event to a group of the site. Its bytes are made once for all groups.
func (a *Agent) postSite(e *Event, group uint32) {
	l := &a.loop
	if len(l.site) == 0 {
		if native.Uint16([]byte{1, 0}) == 1 {
			l.site = append(l.site, e.raw[:]...)
		} else {
			l.site, _ = e.Append(l.site, siteOrder) // no Lost comes here
		}
		if e.Info != nil {
			l.site = appendArgs(l.site, e.Info.Cmdline)
		}
	}
	a.post(SiteID(l.host), e.Seq, l.site, group)
}

// appendArgs appends arguments with a zero byte between them, at most maxSiteArg bytes.
func appendArgs(b []byte, args []string) []byte {
	end := len(b) + maxSiteArg
	for i, s := range args {
		if i > 0 {
			b = append(b, 0)
		}
		b = append(b, s...)
		if len(b) >= end {
			return b[:end]
		}
	}
	return b
}

// settleNames has the arguments of processes known while a group of the site asks for events.
func (a *Agent) settleNames() {
	l := &a.loop
	need := false
	for _, g := range l.sending {
		need = need || g.site && a.cfg.SiteNames
	}
	switch need = need && a.client != nil; {
	case need && l.names == nil:
		l.names = newEnricherAt(a.cfg.root, EnrichCmdline)
	case !need && l.names != nil:
		l.names.close()
		l.names = nil
	}
}
