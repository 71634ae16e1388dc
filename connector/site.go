package connector

import (
	"context"

	"github.com/cnbus/cnbus/cbid"
)

// A site is several brokers that have joined (docs/hosts.md). A port id holds the number of the host
// in its upper 12 bits; 0 means the own host.
const (
	// MaxHost is the highest number of a host in a site; the lowest is 1.
	MaxHost = 1<<12 - 1
	// MaxLocalPort is the highest port id on a host without the host's number.
	MaxLocalPort = 1<<20 - 1
)

// HostOf returns the number of the host in a port id; 0 means the own host.
func HostOf(port uint32) uint32 { return port >> 20 }

// LocalPort returns a port id without the number of its host.
func LocalPort(port uint32) uint32 { return port & MaxLocalPort }

// SitePort returns the port id by which every host of the site knows the local port of host.
func SitePort(host, local uint32) uint32 { return host<<20 | local&MaxLocalPort }

// SiteBus can register an id for all the hosts of a site.
type SiteBus interface {
	// AddSiteCallback is AddCallback for the whole site: when it returns, every host that can be reached
	// knows the id. It fails with ErrDuplicate, which says whose the id is, when the site has it, with
	// ErrInterrupted when the broker cannot ask the site at present, and with ErrNotSupported when it has
	// not joined one. When a connection to the broker was made anew, a registration whose site cannot be asked is
	// suspended until it can be, as SiteOptions.Changed is told.
	AddSiteCallback(ctx context.Context, id cbid.ID, name string, h Handler, opt SiteOptions) error
}

// SiteOptions say how an id is registered for a site.
type SiteOptions struct {
	// Takeover takes the id from its owner on another host, who is told.
	Takeover bool

	// Changed, if not nil, is told what becomes of the registration after it was made: one call at a
	// time, in order, on a goroutine of the carrier that it must not hold up. text is for people.
	Changed func(state SiteState, text string)
}

// SiteState says how far a site-wide registration counts.
type SiteState uint8

const (
	SiteInForce   SiteState = iota + 1 // for all hosts
	SiteSuspended                      // the host has no contact to the site, for a whole lease or since its broker began: for this host only, until it has
	SiteLost                           // for this host only from now on, as the text says: another one has the id now, or will not know this one's
)

// String returns the state in words.
func (s SiteState) String() string {
	switch s {
	case SiteInForce:
		return "in force"
	case SiteSuspended:
		return "suspended"
	case SiteLost:
		return "lost"
	}
	return "unknown"
}

// AddSiteCallback calls b.AddSiteCallback if b can.
func AddSiteCallback(ctx context.Context, b Bus, id cbid.ID, name string, h Handler, opt SiteOptions) error {
	if s, ok := b.(SiteBus); ok {
		return s.AddSiteCallback(ctx, id, name, h, opt)
	}
	return &OpError{Op: "add callback", ID: id, HasID: true, Err: ErrNotSupported}
}
