package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// A txPacket is a DATA packet from being queued to being acknowledged for good.
type txPacket struct {
	buf   *txBuf
	n     uint16
	cksum wire.Checksum
	last  bool
}

// A sendQueue holds the DATA packets of a call, base to next of them, and the one that is
// being filled.
type sendQueue struct {
	base, next wire.Seq // next: of the packet queued next
	sealed     wire.Seq // the first whose body is not what is sent yet
	ring       []txPacket
	small      [4]txPacket
	fill       *txBuf
	filled     int
	room       int   // of the packet being filled
	left       int64 // bytes that were announced and have not come, negative: unknown
	began      bool  // some data was sent
	ended      bool  // the last packet is queued
	short      bool  // Send could not take all
}

func (q *sendQueue) reset() {
	if q.ring == nil {
		q.ring = q.small[:]
	}
	q.base, q.next, q.sealed = 1, 1, 1
	q.left = -1
}

func (q *sendQueue) len() int { return q.next.Sub(q.base) }

func (q *sendQueue) at(s wire.Seq) *txPacket { return &q.ring[int(s)&(len(q.ring)-1)] }

func (q *sendQueue) push() *txPacket {
	if q.len() == len(q.ring) {
		bigger := make([]txPacket, 4*len(q.ring))
		for s := q.base; s != q.next; s++ {
			bigger[int(s)&(len(bigger)-1)] = *q.at(s)
		}
		clear(q.ring)
		q.ring = bigger
	}
	p := q.at(q.next)
	q.next++
	return p
}

// free gives back the packets before seq.
func (q *sendQueue) free(pool *txPool, seq wire.Seq) {
	for q.base.Before(seq) && q.base != q.next {
		p := q.at(q.base)
		pool.put(p.buf)
		*p = txPacket{}
		q.base++
	}
}

func (q *sendQueue) drop(pool *txPool) {
	q.free(pool, q.next)
	if q.fill != nil {
		pool.put(q.fill)
	}
	q.fill, q.filled, q.room = nil, 0, 0
	q.began, q.ended, q.short = false, false, false
}
