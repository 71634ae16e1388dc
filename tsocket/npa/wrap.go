package npa

import (
	"context"
	"sync"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/internal/layered"
)

func (t FileType) exists() bool { return t == ByteMode || t == MessageMode }

// Options are about a pipe; nil is all defaults.
type Options struct {
	// KeepPlain leaves the unix stream open and to its owner after Disconnect
	// and Close, as C's accept does. After a Close in message mode it cannot be used, for nobody knows
	// where the messages end.
	KeepPlain bool
}

// Wrap makes a pipe of s without a handshake: C's
// tstream_npa_existing_stream. The OpError's Err is an *Error with EINVAL for a file type that does not
// exist.
func Wrap(s *tsocket.Stream, t FileType, o *Options) (*tsocket.Stream, error) {
	if !t.exists() {
		return nil, fail("wrap", errFileType)
	}
	if t == ByteMode {
		b := &byteOps{}
		b.init(s, o)
		return tsocket.NewStream(b), nil
	}
	m := &messageOps{in: tsocket.NewPDUReader(s, messageSize, headerSize+maxMessage)}
	m.init(s, o)
	m.out = layered.NewOutbox(s, m.life)
	return tsocket.NewStream(m), nil
}

// base is what both modes share.
type base struct {
	tsocket.Layer
	keep       bool
	rule       tsocket.CancelRule
	life       context.Context // ends with Close
	end        context.CancelFunc
	over       sync.Once // Disconnect or Close has come
	rctx, wctx layered.Life
}

func (b *base) init(s *tsocket.Stream, o *Options) {
	b.Lower = s
	b.keep = o != nil && o.KeepPlain
	b.life, b.end = context.WithCancel(context.Background())
	b.rule = s.SetCancelRule(tsocket.CancelLoses)
}

// until returns the context of an operation: where Close does not close the
// lower stream, it ends with this one.
func (b *base) until(l *layered.Life, ctx context.Context) context.Context {
	if !b.keep {
		return ctx
	}
	return l.Join(ctx, b.life)
}

// because returns what ctx says, if that is why, and the cause of err otherwise.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return tsocket.EndOfRead(err)
}

// Disconnect lets go of the lower stream.
func (b *base) Disconnect(ctx context.Context) error {
	var err error
	b.over.Do(func() {
		b.end()
		b.Lower.SetCancelRule(b.rule)
		if b.keep {
			return
		}
		if err = tsocket.Cause(b.Lower.Disconnect(ctx)); err != nil {
			err = tsocket.Cause(b.Lower.Close()) // somebody else uses it
		}
	})
	return err
}

// Close closes the lower stream, if it is ours.
func (b *base) Close() error {
	var err error
	b.over.Do(func() {
		b.end()
		if !b.keep {
			err = tsocket.Cause(b.Lower.Close())
		}
	})
	return err
}

// byteOps hands everything on.
type byteOps struct{ base }

func (o *byteOps) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	n, err := o.Lower.ReadSome(o.until(&o.rctx, ctx), bufs[0])
	return n, because(ctx, err)
}

func (o *byteOps) Writev(ctx context.Context, bufs [][]byte) (int64, error) {
	n, err := o.Lower.Writev(o.until(&o.wctx, ctx), bufs...)
	return n, because(ctx, err)
}

func (o *byteOps) Pending() (int, error) {
	n, err := o.Lower.PendingBytes()
	return n, tsocket.Cause(err)
}

func (o *byteOps) CloseWrite(ctx context.Context) error {
	return because(ctx, o.Lower.CloseWrite(o.until(&o.wctx, ctx)))
}
