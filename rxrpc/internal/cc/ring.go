package cc

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

type state uint8

const (
	flying state = iota // under way, as far as is known
	lost                // to be sent again
	acked               // soft-acked: arrived, but the receiver may take that back
)

// A sent packet is one between the hard acknowledgement and the last one sent.
type sent struct {
	at     Time        // last transmission
	serial wire.Serial // last transmission
	size   uint16
	state  state
	again  bool // was sent more than once
	probe  bool // the last transmission was a tail loss probe
	pieces bool // and could be fragmented
}

// A ring holds the packets from base to next, next not included.
type ring struct {
	base, next wire.Seq
	pkts       []sent // a power of two
	small      [4]sent
}

func (r *ring) reset() {
	r.base, r.next = 1, 1
	if r.pkts == nil {
		r.pkts = r.small[:]
	}
}

func (r *ring) at(q wire.Seq) *sent { return &r.pkts[int(q)&(len(r.pkts)-1)] }

func (r *ring) len() int { return r.next.Sub(r.base) }

func (r *ring) has(q wire.Seq) bool { return !q.Before(r.base) && q.Before(r.next) }

// push adds the packet after the last one. It allocates when the ring is full.
func (r *ring) push() *sent {
	if r.len() == len(r.pkts) {
		bigger := make([]sent, 4*len(r.pkts))
		for q := r.base; q != r.next; q++ {
			bigger[int(q)&(len(bigger)-1)] = *r.at(q)
		}
		r.pkts = bigger
	}
	p := r.at(r.next)
	r.next++
	return p
}
