package proto

import (
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// CallInfo is what there is to know of a call, for people.
type CallInfo struct {
	Tag     any
	Client  bool
	Peer    netip.AddrPort
	Service wire.ServiceID
	CID     wire.CID // with the channel; 0: it waits for one
	Epoch   wire.Epoch
	Call    wire.CallNumber
	State   State
	Waits   bool // of a service: for somebody to accept it

	Queued, Window int      // packets sent that are not acknowledged, or are still to be sent; how many may be in flight
	Received       wire.Seq // packets of the peer's phase, in order
	Quiet          time.Duration
}

// ConnInfo is what there is to know of a connection.
type ConnInfo struct {
	Client   bool
	Peer     netip.AddrPort
	Service  wire.ServiceID
	CID      wire.CID
	Epoch    wire.Epoch
	Security SecurityInfo
	Index    wire.SecurityIndex
	Aborted  bool
	Serial   wire.Serial // sent last
	Highest  wire.Serial // received
	Calls    [wire.Channels]wire.CallNumber
	Active   int // channels that have a call

	PacketsIn, PacketsOut uint32
}

// PeerInfo is what there is to know of a peer.
type PeerInfo struct {
	Peer              netip.AddrPort
	Conns             int
	RTT, RTO          time.Duration // 0: not measured
	MTU               int           // of IP packets that are known to arrive
	BytesIn, BytesOut uint64
	Sent, Resent      uint64 // DATA packets
}

// Snapshot calls the functions with each call that is running, each connection and each peer. They must not change anything.
func (e *Endpoint) Snapshot(now Time, call func(CallInfo), conn func(ConnInfo), peer func(PeerInfo)) {
	for _, c := range e.allConns {
		conn(c.snapshot())
		for i := range c.channels {
			if x := c.channels[i].call; x != nil {
				call(x.snapshot(now))
			}
		}
	}
	for _, b := range e.bundles {
		for x := b.waiting.head; x != nil; x = x.waitNode.next {
			call(x.snapshot(now))
		}
	}
	for _, p := range e.allPeers {
		peer(PeerInfo{
			Peer: p.addr, Conns: p.conns.n, RTT: time.Duration(p.path.Smoothed()), RTO: time.Duration(p.path.RTO()), MTU: p.mtu.Good(),
			BytesIn: p.bytesIn, BytesOut: p.bytesOut, Sent: p.out, Resent: p.resent,
		})
	}
}

func (c *Call) snapshot(now Time) CallInfo {
	i := CallInfo{
		Tag: c.Tag, Client: c.client, Peer: c.peer.addr, Service: c.service, Epoch: c.connID.Epoch, Call: c.number, State: c.state, Waits: c.waits,
		Queued: c.tx.len(), Window: c.snd.Window(), Received: c.rx.next - 1, Quiet: now.Sub(c.heardAt),
	}
	if c.conn != nil {
		i.CID = c.connID.CID | wire.CID(c.channel)
	}
	return i
}

func (c *conn) snapshot() ConnInfo {
	i := ConnInfo{
		Client: c.client, Peer: c.peer.addr, Service: c.service, CID: c.id.CID, Epoch: c.id.Epoch, Index: c.index, Aborted: c.state == connAborted,
		Serial: c.serial, Highest: c.highest, Calls: c.numbers(), PacketsIn: c.packetsIn, PacketsOut: c.packetsOut,
	}
	if c.sec != nil {
		i.Security = c.sec.Describe()
	}
	for k := range c.channels {
		if c.channels[k].call != nil {
			i.Active++
		}
	}
	return i
}
