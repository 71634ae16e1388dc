package rxrpc

import (
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Hooks are told what happens on an endpoint. They are called in the middle of things: they must be
// quick, must not call the endpoint, and may keep nothing of what they are given. Each may be nil.
type Hooks struct {
	// Packet sees every datagram that comes in or goes out. TraceTo makes one that writes them down.
	Packet func(out bool, peer netip.AddrPort, datagram []byte)
	// Dropped sees why a datagram was not used.
	Dropped func(peer netip.AddrPort, why string)
	// ConnOpened and ConnClosed see connections, of clients here and of clients elsewhere.
	ConnOpened func(id ConnInfo)
	ConnClosed func(id ConnInfo, why string)
	// CallEnded sees every call's end; err is nil for success.
	CallEnded func(peer netip.AddrPort, service uint16, client bool, err error)
	// RTT sees the round-trip time and the retransmission time-out after each new sample.
	RTT func(peer netip.AddrPort, smoothed, rto time.Duration)
	// Lost sees DATA packets declared lost.
	Lost func(peer netip.AddrPort, seq uint32, timeout bool)
	// MTU sees how large packets to a peer may be from now on, in bytes after the Rx header.
	MTU func(peer netip.AddrPort, body int)
}

// ConnInfo identifies a connection.
type ConnInfo struct {
	Client     bool // this side has made it
	Epoch, CID uint32
	Service    uint16
	Peer       netip.AddrPort
}

func connInfo(client bool, id proto.ConnID) ConnInfo {
	return ConnInfo{Client: client, Epoch: uint32(id.Epoch), CID: uint32(id.CID), Service: uint16(id.Service), Peer: id.Peer}
}

// TraceTo returns a hook for Packet that writes a line for each datagram to w:
// the time since the first, the direction, the peer and what the packet says.
func TraceTo(w io.Writer) func(out bool, peer netip.AddrPort, datagram []byte) {
	var mu sync.Mutex // of several endpoints
	var start time.Time
	var line []byte
	return func(out bool, peer netip.AddrPort, datagram []byte) {
		mu.Lock()
		defer mu.Unlock()
		if start.IsZero() {
			start = time.Now()
		}
		arrow := '<'
		if out {
			arrow = '>'
		}
		line = fmt.Appendf(line[:0], "%10.6f %c %v ", time.Since(start).Seconds(), arrow, peer)
		line = append(wire.AppendText(line, datagram), '\n')
		_, _ = w.Write(line)
	}
}

// hooks connects the protocol's hooks with the application's and the log.
func (e *Endpoint) hooks() *proto.Hooks {
	var h Hooks
	if e.cfg.Hooks != nil {
		h = *e.cfg.Hooks
	}
	p := &proto.Hooks{}
	if f := h.Packet; f != nil {
		p.Packet = func(_ proto.Time, out bool, peer netip.AddrPort, d []byte) { f(out, peer, d) }
	}
	if f := h.Dropped; f != nil {
		p.Dropped = func(_ proto.Time, peer netip.AddrPort, _ wire.Header, why string) { f(peer, why) }
	}
	if f, on := h.ConnOpened, e.log.on(); f != nil || on {
		p.ConnOpened = func(_ proto.Time, client bool, id proto.ConnID) {
			i := connInfo(client, id)
			e.log.conn("connection opened", i, "")
			if f != nil {
				f(i)
			}
		}
	}
	if f, on := h.ConnClosed, e.log.on(); f != nil || on {
		p.ConnClosed = func(_ proto.Time, client bool, id proto.ConnID, why string) {
			i := connInfo(client, id)
			e.log.conn("connection closed", i, why)
			if f != nil {
				f(i, why)
			}
		}
	}
	if f, on := h.CallEnded, e.log.on(); f != nil || on {
		p.CallEnded = func(_ proto.Time, c *proto.Call, r proto.Result) {
			err := resultError(&r, r.Err)
			e.log.call(c.Peer(), uint16(c.Service()), c.Client(), err)
			if f != nil {
				f(c.Peer(), uint16(c.Service()), c.Client(), err)
			}
		}
	}
	if f := h.RTT; f != nil {
		p.RTT = func(_ proto.Time, peer netip.AddrPort, srtt, rto time.Duration) { f(peer, srtt, rto) }
	}
	if f := h.Lost; f != nil {
		p.Lost = func(_ proto.Time, c *proto.Call, seq wire.Seq, timeout bool) { f(c.Peer(), uint32(seq), timeout) }
	}
	if f := h.MTU; f != nil {
		p.MTU = func(_ proto.Time, peer netip.AddrPort, body int) { f(peer, body) }
	}
	return p
}
