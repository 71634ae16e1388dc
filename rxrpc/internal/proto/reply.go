package proto

import (
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A reply is a packet outside of any connection that is to be sent: an answer to one
// of no call.
type reply struct {
	to    netip.AddrPort
	h     wire.Header // of the packet to send
	code  wire.AbortCode
	debug wire.DebugRequest
}

// replies is a queue of bounded length.
type replies struct {
	ring []reply
	from int
	n    int
}

func (e *Endpoint) reply(now Time, r reply) bool {
	q := &e.replies
	tokens := int32(1)
	if r.h.Type == wire.TypeDebug || r.h.Type == wire.TypeVersion {
		tokens = longReply
	}
	if reached(q.n, e.cfg.Limits.Replies) || !e.mayReply(now, r.to, tokens) {
		return false
	}
	if q.n == len(q.ring) {
		bigger := make([]reply, max(2*len(q.ring), 16))
		for i := range q.n {
			bigger[i] = q.ring[(q.from+i)%len(q.ring)]
		}
		q.ring, q.from = bigger, 0
	}
	q.ring[(q.from+q.n)%len(q.ring)] = r
	q.n++
	return true
}

// reject answers a packet by an ABORT, unless it is one (section 1.2, 11). Linux and the
// rule set security index 0; a client that looks for its connection by the index, as
// OpenAFS does and Linux, never hears of such an ABORT, so it has the packet's.
func (e *Endpoint) reject(now Time, from netip.AddrPort, h *wire.Header, code wire.AbortCode, why string) {
	e.drop(now, from, h, why)
	if h.Type == wire.TypeAbort {
		return
	}
	r := reply{to: from, h: h.Reply(wire.TypeAbort), code: code}
	r.h.Security = h.Security
	if e.reply(now, r) {
		e.stats.Rejected++
	}
}

// busy answers the first packet of a call that cannot be taken now.
func (e *Endpoint) busy(now Time, from netip.AddrPort, h *wire.Header) {
	r := reply{to: from, h: h.Reply(wire.TypeBusy)}
	r.h.Security = h.Security
	if e.reply(now, r) {
		e.stats.Busied++
	}
}

// version answers who asks for the version (section 3.8).
func (e *Endpoint) version(now Time, from netip.AddrPort, h *wire.Header) {
	if !e.cfg.Debug.NoVersion {
		e.reply(now, reply{to: from, h: h.Reply(wire.TypeVersion)})
	}
}

// transmitReply writes the next reply.
func (e *Endpoint) transmitReply(buf []byte) ([]byte, netip.AddrPort, bool) {
	q := &e.replies
	if q.n == 0 {
		return nil, netip.AddrPort{}, false
	}
	r := &q.ring[q.from]
	q.from = (q.from + 1) % len(q.ring)
	q.n--
	b := r.h.Append(buf[:0])
	switch r.h.Type {
	case wire.TypeAbort:
		b = wire.AppendAbort(b, r.code)
	case wire.TypeVersion:
		b = wire.AppendVersion(b, e.cfg.Version)
	case wire.TypeDebug:
		b = e.appendDebug(b, r.debug)
	}
	return b, r.to, true
}
