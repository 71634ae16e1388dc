package proto

import (
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// debug answers rxdebug (section 7 of the reference), if it may.
func (e *Endpoint) debug(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	r, err := wire.ParseDebugRequest(body)
	if err != nil || e.cfg.Debug.NoDebug {
		e.drop(now, from, h, "debug request")
		return
	}
	e.reply(now, reply{to: from, h: h.Reply(wire.TypeDebug), debug: r})
}

// appendDebug appends the record that is asked for, from the state there is.
func (e *Endpoint) appendDebug(b []byte, r wire.DebugRequest) []byte {
	switch r.Type {
	case wire.DebugGetStats:
		s := e.debugStats()
		return s.Append(b)
	case wire.DebugGetRxStats:
		s := e.rxStats()
		return s.Append(b)
	case wire.DebugGetConn, wire.DebugGetAllConn:
		c := e.debugConn(int(r.Index), r.Type == wire.DebugGetAllConn)
		return c.Append(b)
	case wire.DebugGetPeer:
		p := e.debugPeer(int(r.Index))
		return p.Append(b)
	}
	return wire.AppendDebugBadType(b)
}

func (e *Endpoint) debugStats() wire.DebugStats {
	return wire.DebugStats{
		FreePackets:   int32(e.txPool.n),
		CallsExecuted: int32(e.stats.ServiceCalls),
		UsedFDs:       1,
		Version:       wire.DebugVersion,
		Packets:       int32(e.txPool.n),
	}
}

// debugConn returns the index-th connection, or of those that have calls. Addresses of
// IPv6 do not fit: they are 0.
func (e *Endpoint) debugConn(index int, all bool) wire.DebugConn {
	if e.cfg.Debug.NoConns || index < 0 {
		return wire.DebugConnEnd()
	}
	if all {
		if index >= len(e.allConns) {
			return wire.DebugConnEnd()
		}
		return e.allConns[index].debug()
	}
	for _, c := range e.allConns {
		if c.active == 0 {
			continue
		}
		if d := c.debug(); d.Interesting() {
			if index == 0 {
				return d
			}
			index--
		}
	}
	return wire.DebugConnEnd()
}

func host4(a netip.AddrPort) (h [4]byte) {
	if a.Addr().Is4() {
		h = a.Addr().As4()
	}
	return h
}

func (c *conn) debug() wire.DebugConn {
	d := wire.DebugConn{
		Host: host4(c.peer.addr), Port: c.peer.addr.Port(), CID: c.id.CID, Epoch: c.id.Epoch, Serial: c.serial,
		Call: c.numbers(), Type: wire.DebugServer, Security: c.index,
		NatMTU: uint32(c.peer.mtu.Good()),
	}
	if c.state == connAborted {
		d.Error = int32(c.code)
	}
	if c.client {
		d.Type = wire.DebugClient
		if c.bundle.waiting.n > 0 {
			d.Flags |= wire.DebugConnMakeCallWaiting
		}
	}
	info := c.sec.Describe()
	d.Sec = wire.DebugSecurity{
		Type: info.Type, Level: info.Level, Expires: info.Expires,
		PacketsReceived: c.packetsIn, PacketsSent: c.packetsOut, BytesReceived: c.bytesIn, BytesSent: c.bytesOut,
	}
	if info.Authenticated {
		d.Sec.Flags |= wire.DebugSecAuthenticated
	}
	for i := range c.channels {
		if call := c.channels[i].call; call != nil {
			d.State[i], d.Mode[i], d.Other[i] = call.debug()
			d.Call[i] = call.number
		} else if c.channels[i].number != 0 {
			d.State[i] = wire.DebugStateDally
		}
	}
	return d
}

// debug says where the call is in OpenAFS's terms.
func (c *Call) debug() (state, mode, other uint8) {
	state, mode = wire.DebugStateActive, wire.DebugModeReceiving
	switch c.state {
	case SendRequest, SendReply:
		mode = wire.DebugModeSending
	case AwaitAck:
		state, mode = wire.DebugStateHold, wire.DebugModeEOF
	}
	if c.waits {
		state = wire.DebugStatePrecall
	}
	if c.rx.head != nil || c.rx.waiting > 0 {
		other |= wire.DebugPacketsIn
	}
	if c.tx.len() > 0 {
		other |= wire.DebugPacketsOut
	}
	return state, mode, other
}

func (e *Endpoint) debugPeer(index int) wire.DebugPeer {
	if e.cfg.Debug.NoConns || index < 0 || index >= len(e.allPeers) {
		return wire.DebugPeerEnd()
	}
	p := e.allPeers[index]
	path := &p.path
	rto := time.Duration(path.RTO())
	size := func(n int) uint16 { return uint16(min(max(n, 0), 0xffff)) }
	d := wire.DebugPeer{
		Host: host4(p.addr), Port: p.addr.Port(),
		IfMTU:    size(e.cfg.MTU.Interface - overhead(p.addr) - wire.HeaderSize),
		RefCount: size(p.conns.n),
		RTT:      uint32(time.Duration(path.Smoothed()).Milliseconds() * 8),
		RTTDev:   uint32(time.Duration(path.Deviation()).Milliseconds() * 4),
		Timeout:  wire.DebugTime{Sec: int32(rto / time.Second), Usec: int32(rto % time.Second / time.Microsecond)},
		Sent:     uint32(p.out), Resends: uint32(p.resent),
		NatMTU: size(p.mtu.Good()), MaxMTU: size(p.mtu.Good()), MTU: size(p.mtu.Data()),
		MaxDgramPackets: size(p.mtu.Slots()), IfDgramPackets: size(e.cfg.MTU.JumboMax), NDgramPackets: size(p.mtu.Slots()),
		BytesSent: p.bytesOut, BytesReceived: p.bytesIn,
	}
	return d
}

func (e *Endpoint) rxStats() wire.RxStats {
	s := &e.stats
	r := wire.RxStats{
		BogusPacketOnRead:   uint32(s.Received[0]),
		DataPacketsRead:     uint32(s.DataIn - s.Duplicates),
		AckPacketsRead:      uint32(s.Received[wire.TypeAck]),
		DupPacketsRead:      uint32(s.Duplicates),
		SpuriousPacketsRead: uint32(s.Dropped),
		AckPacketsSent:      uint32(s.Transmitted[wire.TypeAck]),
		PingPacketsSent:     uint32(s.PingsOut),
		AbortPacketsSent:    uint32(s.Transmitted[wire.TypeAbort]),
		BusyPacketsSent:     uint32(s.Transmitted[wire.TypeBusy]),
		DataPacketsSent:     uint32(s.DataOut),
		DataPacketsResent:   uint32(s.Resent),
		ServerConns:         uint32(s.LiveServiceConns),
		ClientConns:         uint32(s.LiveClientConns),
		PeerStructs:         uint32(s.LivePeers),
		CallStructs:         uint32(s.LiveCalls + s.FreeCalls),
		FreeCallStructs:     uint32(s.FreeCalls),
		Busies:              uint32(s.Busied),
	}
	for i := range r.PacketsRead {
		r.PacketsRead[i] = uint32(s.Received[i+1])
		r.PacketsSent[i] = uint32(s.Transmitted[i+1])
	}
	return r
}
