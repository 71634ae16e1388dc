package proto

import (
	"math/bits"
	"sync"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Buf holds data of a call that has arrived: what Take hands over. It belongs to
// whoever took it until Release, which may be called from anywhere.
type Buf struct {
	data    []byte // of the application
	mem     []byte // all of it, 1<<class bytes
	packets int    // whole packets that data is of: what Consumed counts
	next    *Buf
	class   uint8

	seq  wire.Seq // of a packet that waits for those before it
	last bool
}

// Bytes returns the data. It may be empty.
func (b *Buf) Bytes() []byte { return b.data }

// Packets returns how many packets the data came in.
func (b *Buf) Packets() int { return b.packets }

// Release gives the memory back. The data is gone then.
func (b *Buf) Release() {
	b.data, b.next, b.packets, b.last = nil, nil, 0, false
	bufPools[b.class-minBufClass].Put(b)
}

// Sizes of bufs are powers of two, from one that a packet fits in to one that the
// largest datagram does.
const (
	minBufClass = 11
	maxBufClass = 16
)

var bufPools [maxBufClass - minBufClass + 1]sync.Pool

// newBuf returns a Buf with room for n bytes.
func newBuf(n int) *Buf {
	class := max(bits.Len(uint(max(n, 1)-1)), minBufClass)
	b, _ := bufPools[class-minBufClass].Get().(*Buf)
	if b == nil {
		b = &Buf{mem: make([]byte, 1<<class), class: uint8(class)}
	}
	b.data = b.mem[:0]
	return b
}

// room returns how many bytes can be appended to the data in place.
func (b *Buf) room() int { return len(b.mem) - len(b.data) }

// A txBuf is the body of a packet to send.
type txBuf struct {
	next *txBuf
	b    [wire.JumboData]byte
}

// txPool is the endpoint's list of free ones.
type txPool struct {
	free *txBuf
	n    int
}

// maxFreeTx is how many are kept: 6 MB.
const maxFreeTx = 4096

func (p *txPool) get() *txBuf {
	b := p.free
	if b == nil {
		return new(txBuf)
	}
	p.free, b.next = b.next, nil
	p.n--
	return b
}

func (p *txPool) put(b *txBuf) {
	if p.n < maxFreeTx {
		b.next, p.free = p.free, b
		p.n++
	}
}
