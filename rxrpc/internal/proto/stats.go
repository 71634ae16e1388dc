package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// Stats counts what an endpoint has done. All counters only grow but the last group.
type Stats struct {
	Received    [wire.PacketTypes + 1]uint64 // datagrams by type; 0: none of them
	Transmitted [wire.PacketTypes + 1]uint64
	BytesIn     uint64 // of datagrams
	BytesOut    uint64

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

	// How many there are now.
	LiveClientConns, LiveServiceConns, LiveHalfOpen, LivePeers, LiveCalls, FreeCalls int
}

// Stats returns a copy of the counters.
func (e *Endpoint) Stats() Stats { return e.stats }

// Held returns how many packets running calls hold: to send, and received, but not those
// that the application has taken. It looks at all of them.
func (e *Endpoint) Held() (sending, received int) {
	for _, cn := range e.allConns {
		for i := range cn.channels {
			c := cn.channels[i].call
			if c == nil {
				continue
			}
			sending += c.tx.len()
			received += c.rx.waiting
			for b := c.rx.head; b != nil; b = b.next {
				received += b.packets
			}
		}
	}
	return sending, received
}
