package rxrpc

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// A Snapshot is what an endpoint has at a moment, as /proc/net/rxrpc/{calls,conns,peers} have it for Linux's.
type Snapshot struct {
	Calls []CallStatus
	Conns []ConnStatus
	Peers []PeerStatus
}

// A CallStatus is a call that is running.
type CallStatus struct {
	// Local and Remote are the addresses of the two sides.
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Service uint16         `json:"service"`
	Conn    uint32         `json:"conn"` // cid with the channel, 0 while it waits for one
	Epoch   uint32         `json:"epoch"`
	Call    uint32         `json:"call"`   // number, in its channel
	Client  bool           `json:"client"` // this side has made it
	State   string         `json:"state"`  // Linux's name: "ClAwtRpl"
	Queued  int            `json:"queued"` // packets that are not acknowledged, or not sent yet
	Window  int            `json:"window"` // packets that may be in flight
	// Received is how many packets of the request, or of the reply, have come.
	Received uint32        `json:"received"`
	Quiet    time.Duration `json:"quiet_ns"` // since the last packet of the peer

	// Socket is whose call it is, nil if no Socket's; Tag is its tag there, if HasTag.
	Socket *Socket `json:"-"`
	Tag    uint64  `json:"tag"`
	HasTag bool    `json:"-"`
}

// A ConnStatus is a connection, with calls or without.
type ConnStatus struct {
	// Local and Remote are the addresses of the two sides.
	Local         netip.AddrPort `json:"local"`
	Remote        netip.AddrPort `json:"remote"`
	Service       uint16         `json:"service"`
	Conn          uint32         `json:"conn"` // cid
	Epoch         uint32         `json:"epoch"`
	Client        bool           `json:"client"`   // this side has made it
	Security      uint8          `json:"security"` // class: 0 none, 2 rxkad
	Level         uint8          `json:"level"`    // rxkad: 0 plain, 1 auth, 2 encrypt
	Authenticated bool           `json:"authenticated"`
	Aborted       bool           `json:"aborted"` // as a whole: there are no calls of it any more
	Active        int            `json:"active"`  // calls that are running
	Serial        uint32         `json:"serial"`  // of the last packet sent
	Highest       uint32         `json:"highest"` // serial received
	Calls         [4]uint32      `json:"calls"`   // number of the last call of each channel
	PacketsIn     uint32         `json:"packets_in"`
	PacketsOut    uint32         `json:"packets_out"`
}

// A PeerStatus is what is known of a peer.
type PeerStatus struct {
	// Local and Remote are the addresses of the two sides.
	Local    netip.AddrPort `json:"local"`
	Remote   netip.AddrPort `json:"remote"`
	Conns    int            `json:"conns"`
	RTT      time.Duration  `json:"rtt_ns"`    // smoothed, 0 if none was measured
	RTO      time.Duration  `json:"rto_ns"`    // retransmission time-out
	MTU      int            `json:"mtu"`       // bytes of datagrams that are known to arrive
	BytesIn  uint64         `json:"bytes_in"`  // of packets, without their headers
	BytesOut uint64         `json:"bytes_out"` // likewise
	Sent     uint64         `json:"sent"`      // DATA packets
	Resent   uint64         `json:"resent"`    // DATA packets sent again
}

var stateNames = [...]string{
	"Unused", "ClWtConn", "ClSndReq", "ClAwtRpl", "ClRcvRpl", "SvRcvReq", "SvAckReq", "SvSndRpl", "SvAwtACK", "Complete",
}

// Snapshot returns the calls, connections and peers of the moment, in the order of their peers.
func (e *Endpoint) Snapshot() Snapshot {
	var s Snapshot
	e.do(func(now proto.Time) {
		e.p.Snapshot(
			now,
			func(c proto.CallInfo) { s.Calls = append(s.Calls, e.callInfo(&c)) },
			func(c proto.ConnInfo) { s.Conns = append(s.Conns, e.connInfo(&c)) },
			func(p proto.PeerInfo) {
				s.Peers = append(s.Peers, PeerStatus{
					Local: e.local, Remote: p.Peer, Conns: p.Conns, RTT: p.RTT, RTO: p.RTO, MTU: p.MTU,
					BytesIn: p.BytesIn, BytesOut: p.BytesOut, Sent: p.Sent, Resent: p.Resent,
				})
			},
		)
	})
	slices.SortFunc(s.Calls, func(a, b CallStatus) int {
		return cmp.Or(a.Remote.Compare(b.Remote), cmp.Compare(a.Conn, b.Conn), cmp.Compare(a.Call, b.Call))
	})
	slices.SortFunc(s.Conns, func(a, b ConnStatus) int {
		return cmp.Or(a.Remote.Compare(b.Remote), cmp.Compare(a.Conn, b.Conn))
	})
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return a.Remote.Compare(b.Remote) })
	return s
}

func (e *Endpoint) callInfo(c *proto.CallInfo) CallStatus {
	i := CallStatus{
		Local: e.local, Remote: c.Peer, Service: uint16(c.Service), Conn: uint32(c.CID), Epoch: uint32(c.Epoch), Call: uint32(c.Call), Client: c.Client,
		State: stateNames[min(int(c.State), len(stateNames)-1)], Queued: c.Queued, Window: c.Window, Received: uint32(c.Received), Quiet: c.Quiet,
	}
	if c.Waits {
		i.State = "SvAccept"
	}
	if x, ok := c.Tag.(*sockCall); ok {
		x.s.mu.Lock()
		i.Socket, i.Tag, i.HasTag = x.s, x.id, x.phase == callLive || x.phase == callStarting
		x.s.mu.Unlock()
	}
	return i
}

func (e *Endpoint) connInfo(c *proto.ConnInfo) ConnStatus {
	i := ConnStatus{
		Local: e.local, Remote: c.Peer, Service: uint16(c.Service), Conn: uint32(c.CID), Epoch: uint32(c.Epoch), Client: c.Client,
		Security: uint8(c.Index), Level: c.Security.Level, Authenticated: c.Security.Authenticated, Aborted: c.Aborted, Active: c.Active,
		Serial: uint32(c.Serial), Highest: uint32(c.Highest), PacketsIn: c.PacketsIn, PacketsOut: c.PacketsOut,
	}
	for k, n := range c.Calls {
		i.Calls[k] = uint32(n)
	}
	return i
}
