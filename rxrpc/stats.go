package rxrpc

import (
	"sync/atomic"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// counters are what the engine counts itself.
type counters struct {
	recvCalls, received, sendCalls, sent, sendErrors atomic.Uint64
}

// Stats is what an endpoint has done since it was opened. All figures only grow but
// those of the last group.
type Stats struct {
	Received    map[string]uint64 // datagrams by packet type: "DATA", "ACK", ...
	Transmitted map[string]uint64
	BytesIn     uint64 // of datagrams
	BytesOut    uint64
	RecvCalls   uint64 // batches of datagrams taken from the socket
	SendCalls   uint64 // batches handed to it
	SendErrors  uint64 // datagrams that the socket refused

	DataIn        uint64 // DATA packets, each of a jumbo datagram
	DataOut       uint64 // first transmissions
	Resent        uint64 // DATA packets sent again
	Duplicates    uint64 // DATA packets received again
	OutOfOrder    uint64 // DATA packets that came before an earlier one
	OutsideWindow uint64 // DATA packets refused because they were beyond the receive window
	JumboIn       uint64 // datagrams with more than one packet
	JumboOut      uint64 // likewise
	PingsOut      uint64 // PING acks sent
	AcksStale     uint64 // acks that were older than one before them

	Dropped        uint64 // datagrams that were not used
	Rejected       uint64 // answered by an ABORT of no call
	RepliesLimited uint64 // answers not given because of their rate
	Busied         uint64 // calls refused by BUSY
	ChecksumBad    uint64 // DATA that the security class refused

	HalfOpenEvicted uint64 // connections of clients that had not proven themselves, forgotten to make room

	ClientCalls  uint64 // begun
	ServiceCalls uint64 // likewise
	CallsOK      uint64 // of both kinds
	CallsFailed  uint64 // likewise
	Timeouts     uint64 // retransmission time-outs
	FastRecovery uint64 // windows made smaller because later packets had arrived
	MTUProbes    uint64 // of the path's MTU, sent
	MTULost      uint64 // of those, not returned

	// HalfOpen are connections whose clients have yet to prove themselves; they are not among ServiceConns.
	ClientConns, ServiceConns, HalfOpen, Peers, Calls int
}

var typeNames = [...]string{"none", "DATA", "ACK", "BUSY", "ABORT", "ACKALL", "CHALLENGE", "RESPONSE", "DEBUG", "PARAMS", "10", "11", "12", "VERSION"}

func byType(n []uint64) map[string]uint64 {
	m := make(map[string]uint64)
	for i, v := range n {
		if v > 0 && i < len(typeNames) {
			m[typeNames[i]] = v
		}
	}
	return m
}

// Stats returns the figures of the moment.
func (e *Endpoint) Stats() Stats {
	var p proto.Stats
	e.do(func(proto.Time) {
		if e.far != nil {
			p = e.far.Stats()
		} else {
			p = e.p.Stats()
		}
	})
	return Stats{
		Received: byType(p.Received[:]), Transmitted: byType(p.Transmitted[:]),
		BytesIn: p.BytesIn, BytesOut: p.BytesOut,
		RecvCalls: e.counters.recvCalls.Load(), SendCalls: e.counters.sendCalls.Load(), SendErrors: e.counters.sendErrors.Load(),
		DataIn: p.DataIn, DataOut: p.DataOut, Resent: p.Resent, Duplicates: p.Duplicates, OutOfOrder: p.OutOfOrder,
		OutsideWindow: p.OutsideWindow, JumboIn: p.JumboIn, JumboOut: p.JumboOut, PingsOut: p.PingsOut, AcksStale: p.AcksStale,
		Dropped: p.Dropped, Rejected: p.Rejected, RepliesLimited: p.RepliesLimited, Busied: p.Busied, ChecksumBad: p.ChecksumBad,
		ClientCalls: p.ClientCalls, ServiceCalls: p.ServiceCalls, CallsOK: p.CallsOK, CallsFailed: p.CallsFailed,
		Timeouts: p.Timeouts, FastRecovery: p.FastRecovery, MTUProbes: p.MTUProbes, MTULost: p.MTULost,
		ClientConns: p.LiveClientConns, ServiceConns: p.LiveServiceConns, HalfOpen: p.LiveHalfOpen, HalfOpenEvicted: p.HalfOpenEvicted, Peers: p.LivePeers, Calls: p.LiveCalls,
	}
}
