package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// otherService decides about a packet whose service is not the connection's (section 1.3 of
// the reference, and the commit that brought upgrades to Linux).
//
// Of a client's connection that asks for an upgrade the first other service is its answer. A
// client may go on to send the one that it asked for until it has heard of the other, and
// servers have been seen to send either; both are the connection's.
func (c *conn) otherService(now Time, h *wire.Header) bool {
	if h.Service == c.id.Service {
		return true
	}
	call := c.probing
	if !c.client || call == nil || !call.exposed || c.service != c.id.Service || h.Call != call.number || h.CID.Channel() != int(call.channel) {
		return false
	}
	if h.Type != wire.TypeData && h.Type != wire.TypeAck {
		return false
	}
	c.service = h.Service
	c.bundle.service = h.Service
	call.service = h.Service
	return true
}

// wantsUpgrade reports whether the first packet of a connection asks for the other service. Old
// OpenAFS has random bytes there: it is 1 and nothing else, of a service that can be upgraded.
func (s *Service) wantsUpgrade(h *wire.Header) bool {
	return s.p.UpgradeFrom != 0 && h.Service == s.p.UpgradeFrom && h.UserStatus == wire.UpgradeRequest && h.Seq == 1
}
