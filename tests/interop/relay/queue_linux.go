package relay

import (
	"container/heap"
	"time"
)

// A packet waits for its time.
type packet struct {
	at   time.Duration
	seq  uint64 // who came first goes first
	down bool
	c    *client
	data []byte
}

// A queue has the packets in the order of their times.
type queue struct {
	waiting packets
	seq     uint64
	free    []*packet // to be used again
}

func (q *queue) push(at time.Duration, c *client, down bool, data []byte) *packet {
	var p *packet
	if n := len(q.free); n > 0 {
		p, q.free = q.free[n-1], q.free[:n-1]
	} else {
		p = new(packet)
	}
	q.seq++
	p.at, p.seq, p.c, p.down, p.data = at, q.seq, c, down, append(p.data[:0], data...)
	heap.Push(&q.waiting, p)
	return p
}

// next is when the first is due.
func (q *queue) next() (time.Duration, bool) {
	if len(q.waiting) == 0 {
		return 0, false
	}
	return q.waiting[0].at, true
}

func (q *queue) pop() *packet { return heap.Pop(&q.waiting).(*packet) }

func (q *queue) release(p *packet) {
	p.c = nil
	q.free = append(q.free, p)
}

// packets is a heap.
type packets []*packet

func (h packets) Len() int      { return len(h) }
func (h packets) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h packets) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h *packets) Push(p any) { *h = append(*h, p.(*packet)) }
func (h *packets) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return p
}
