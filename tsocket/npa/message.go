package npa

import (
	"context"
	"encoding/binary"
	"sync/atomic"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/internal/layered"
)

const (
	headerSize = 2
	maxMessage = 1<<16 - 1
)

// messageSize is a tsocket.SizeFunc.
func messageSize(prefix []byte) (int, error) {
	if len(prefix) < headerSize {
		return 0, nil
	}
	n := int(binary.LittleEndian.Uint16(prefix))
	if n == 0 {
		return 0, errEmpty
	}
	return headerSize + n, nil
}

// messageOps is a pipe in message mode.
type messageOps struct {
	base
	in      *tsocket.PDUReader
	message []byte // what is left of the one that is being read
	pending atomic.Int64

	out    *layered.Outbox // the rest of a message whose write was cancelled
	header [headerSize]byte
	vec    [][]byte
	joined []byte
}

// ReadSome gives what is left of a message, or reads the next one.
func (o *messageOps) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	if len(o.message) == 0 {
		pdu, err := o.in.Next(o.until(&o.rctx, ctx))
		if err != nil {
			return 0, because(ctx, err)
		}
		o.message = pdu[headerSize:]
	}
	sum := 0
	for _, b := range bufs {
		n := copy(b, o.message)
		o.message = o.message[n:]
		sum += n
	}
	o.pending.Store(int64(len(o.message)))
	return sum, nil
}

// Pending is the rest of a message that was begun.
func (o *messageOps) Pending() (int, error) { return int(o.pending.Load()), nil }

// MaxWrite is the longest message.
func (o *messageOps) MaxWrite() int64 { return maxMessage }

// Writev sends a message. If ctx ends when a part of it is on its way, the rest
// is sent in the background, and all of it counts.
func (o *messageOps) Writev(ctx context.Context, bufs [][]byte) (int64, error) {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	in := o.until(&o.wctx, ctx)
	if err := o.out.Take(in); err != nil {
		return 0, because(ctx, err)
	}
	if err := o.out.Write(in); err != nil { // of a message before this one
		if in.Err() != nil && o.life.Err() == nil {
			o.out.GoOn()
		} else {
			o.out.Give()
		}
		return 0, because(ctx, err)
	}
	binary.LittleEndian.PutUint16(o.header[:], uint16(size))
	o.gather(bufs)
	n, err := o.Lower.Writev(in, o.vec...)
	if err != nil && n > 0 && in.Err() != nil {
		o.leave(n)
		n = headerSize + int64(size)
	}
	clear(o.vec)
	if o.out.IsEmpty() {
		o.out.Give()
	} else {
		o.out.GoOn()
	}
	return max(0, n-headerSize), because(ctx, err)
}

// maxVectors is how many vectors the lower stream takes.
const maxVectors = 1024

// gather makes vec of the header and bufs, joined if they are too many with it.
func (o *messageOps) gather(bufs [][]byte) {
	o.vec = append(o.vec[:0], o.header[:])
	if len(bufs) < maxVectors {
		o.vec = append(o.vec, bufs...)
		return
	}
	o.joined = o.joined[:0]
	for _, b := range bufs {
		o.joined = append(o.joined, b...)
	}
	o.vec = append(o.vec, o.joined)
}

// leave puts what is behind the first n bytes of vec into the outbox.
func (o *messageOps) leave(n int64) {
	for _, b := range o.vec {
		gone := min(n, int64(len(b)))
		n -= gone
		o.out.Put(b[gone:])
	}
}

// CloseWrite ends the writing side, behind the last message.
func (o *messageOps) CloseWrite(ctx context.Context) error {
	in := o.until(&o.wctx, ctx)
	if err := o.out.Flush(in); err != nil {
		return because(ctx, err)
	}
	return because(ctx, o.Lower.CloseWrite(in))
}

// Disconnect lets the rest of a message go first.
func (o *messageOps) Disconnect(ctx context.Context) error {
	if err := o.out.Flush(ctx); err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return o.base.Disconnect(ctx)
}
