package tstest

import (
	"context"
	"io"
	"sync"

	"github.com/cnbus/cnbus/tsocket"
)

// Faulty returns a stream on top of s, which it takes with it, that delivers what
// comes byte by byte, and nothing after the first n: there it ends, or, without end, waits until the
// context of the read does. reached is closed when a read has come so far. With all n
// it shows what a handshake does whose peer vanishes, or which is given up, anywhere.
func Faulty(s *tsocket.Stream, n int, end bool) (f *tsocket.Stream, reached <-chan struct{}) {
	o := &faultyOps{lower: s, left: n, end: end, reached: make(chan struct{}), closed: make(chan struct{})}
	s.SetHalfOpen(true)
	return tsocket.NewStream(o), o.reached
}

type faultyOps struct {
	lower   *tsocket.Stream
	left    int // the reader's
	end     bool
	reached chan struct{}
	once    sync.Once
	closed  chan struct{}
}

func (o *faultyOps) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	if o.left > 0 {
		for len(bufs[0]) == 0 {
			bufs = bufs[1:]
		}
		n, err := o.lower.ReadSome(ctx, bufs[0][:1])
		o.left -= n
		return n, tsocket.Cause(err)
	}
	o.once.Do(func() { close(o.reached) })
	if o.end {
		return 0, io.EOF
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-o.closed:
		return 0, tsocket.ErrClosed
	}
}

func (o *faultyOps) Writev(ctx context.Context, bufs [][]byte) (int64, error) {
	n, err := o.lower.Writev(ctx, bufs...)
	return n, tsocket.Cause(err)
}

// Pending tells of no bytes that would not come.
func (o *faultyOps) Pending() (int, error) {
	n, err := o.lower.PendingBytes()
	return min(n, o.left), tsocket.Cause(err)
}

func (o *faultyOps) Disconnect(ctx context.Context) error {
	return tsocket.Cause(o.lower.Disconnect(ctx))
}

func (o *faultyOps) Close() error {
	close(o.closed)
	return tsocket.Cause(o.lower.Close())
}
