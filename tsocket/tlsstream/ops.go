package tlsstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/internal/layered"
)

// ops is the stream that TLS makes of a plain one.
type ops struct {
	tsocket.Layer
	conn *tls.Conn
	t    *transport
	out  *layered.Outbox

	keep  bool // the plain stream is not ours
	rule  tsocket.CancelRule
	shown *certificate // of a server

	life context.Context // ends with Close
	end  context.CancelFunc
	over sync.Once // Disconnect or Close has come

	rctx, wctx layered.Life
	clear      []byte // deciphered, and not yet taken
	memory     []byte // of clear
	pending    atomic.Int64
	join       []byte // of small vectors
}

// recordMax is how many bytes a record holds.
const recordMax = 16 << 10

// ReadSome deciphers into a vector that has room for a whole record, into
// memory of its own otherwise: crypto/tls does not tell how much it has left.
func (o *ops) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	if len(o.clear) > 0 {
		return o.takeClear(bufs), nil
	}
	o.t.ctx = o.until(&o.rctx, ctx)
	for {
		direct := firstRoom(bufs)
		into := direct
		if len(direct) < recordMax {
			if o.memory == nil {
				o.memory = make([]byte, recordMax)
			}
			into = o.memory
		}
		n, err := o.conn.Read(into)
		o.out.Kick() // an answer to a key update
		switch {
		case n > 0 && len(direct) < recordMax:
			o.clear = o.memory[:n]
			return o.takeClear(bufs), nil
		case n > 0:
			return n, nil
		case err != nil:
			return 0, o.readError(ctx, err)
		}
	}
}

func (o *ops) readError(ctx context.Context, err error) error {
	if err == io.EOF {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return classify(err)
}

func firstRoom(bufs [][]byte) []byte {
	for len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	return bufs[0]
}

func (o *ops) takeClear(bufs [][]byte) int {
	sum := 0
	for _, b := range bufs {
		n := copy(b, o.clear)
		o.clear = o.clear[n:]
		sum += n
	}
	o.pending.Store(int64(len(o.clear)))
	return sum
}

// Pending counts deciphered bytes.
func (o *ops) Pending() (int, error) { return int(o.pending.Load()), nil }

// pieceMax is how much is enciphered before it is written, and so how much is
// written although its write was cancelled.
const pieceMax = 64 << 10

// Writev enciphers piece by piece. A piece that is enciphered counts.
func (o *ops) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	in := o.until(&o.wctx, ctx)
	if err := o.out.Take(in); err != nil {
		return 0, o.writeError(ctx, err)
	}
	if err := o.out.Write(in); err != nil { // of a write before this one
		return 0, o.writeError(ctx, o.giveUp(in, err))
	}
	for len(bufs) > 0 {
		var piece []byte
		piece, bufs = o.piece(bufs)
		if len(piece) == 0 {
			continue
		}
		for len(piece) > 0 {
			n, err := o.conn.Write(piece[:min(len(piece), pieceMax)])
			if err != nil {
				return sum, o.giveUp(in, classify(err))
			}
			err = o.out.Write(in)
			if err == nil || in.Err() != nil {
				sum += int64(n)
			}
			if err != nil {
				return sum, o.writeError(ctx, o.giveUp(in, err))
			}
			piece = piece[n:]
		}
	}
	o.out.Give()
	return sum, nil
}

// giveUp gives the pen back: to a goroutine that writes what is enciphered, if
// it is only that ctx has ended.
func (o *ops) giveUp(ctx context.Context, err error) error {
	if ctx.Err() != nil && o.life.Err() == nil {
		o.out.GoOn()
	} else {
		o.out.Give()
	}
	return err
}

// piece takes from bufs what is to be enciphered next: vectors that fit into a
// record together are joined, as each piece is a record at least.
func (o *ops) piece(bufs [][]byte) (piece []byte, rest [][]byte) {
	if len(bufs) == 1 || len(bufs[0])+len(bufs[1]) > recordMax {
		return bufs[0], bufs[1:]
	}
	o.join = o.join[:0]
	for len(bufs) > 0 && len(o.join)+len(bufs[0]) <= recordMax {
		o.join = append(o.join, bufs[0]...)
		bufs = bufs[1:]
	}
	return o.join, bufs
}

func (o *ops) writeError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return tsocket.Cause(err)
}

// CloseWrite sends close_notify.
func (o *ops) CloseWrite(ctx context.Context) error {
	_ = o.conn.CloseWrite() // it cannot fail but for what an earlier write failed for
	if err := o.out.Flush(o.until(&o.wctx, ctx)); err != nil {
		return o.writeError(ctx, err)
	}
	return nil
}

// Disconnect sends close_notify and lets go of the plain stream. That the peer
// is gone already does not keep it from that.
func (o *ops) Disconnect(ctx context.Context) error {
	if err := o.CloseWrite(ctx); err != nil && ctx.Err() != nil {
		return err
	}
	var err error
	o.over.Do(func() {
		o.end()
		if o.keep {
			o.Lower.SetCancelRule(o.rule)
			return
		}
		if err = tsocket.Cause(o.Lower.Disconnect(ctx)); err != nil {
			err = tsocket.Cause(o.Lower.Close()) // somebody else uses it
		}
	})
	return err
}

// Close sends close_notify if that goes at once.
func (o *ops) Close() error {
	var err error
	o.over.Do(func() {
		o.tryNotify()
		o.end()
		if !o.keep {
			err = tsocket.Cause(o.Lower.Close())
		}
	})
	return err
}

// notifyPatience is how long Close waits where it cannot write without waiting.
const notifyPatience = 50 * time.Millisecond

func (o *ops) tryNotify() {
	if o.out.IsDead() || !o.out.TryTake() {
		return
	}
	// The pen is kept: this is the last thing written.
	_ = o.conn.CloseWrite()
	if lower, ok := o.Lower.Ops().(tsocket.TryStreamOps); ok {
		o.out.WriteNow(lower.TryWrite)
		return
	}
	ctx, cancel := context.WithTimeout(o.life, notifyPatience)
	defer cancel()
	_ = o.out.Write(ctx)
}

// serverCert returns the certificate of the server, nil if it is not known.
func (o *ops) serverCert() *x509.Certificate {
	if o.shown != nil {
		return o.shown.leaf()
	}
	if certs := o.conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		return certs[0]
	}
	return nil
}

// until returns the context of an operation. Where Close closes the plain stream,
// it need not end with the life of this one.
func (o *ops) until(l *layered.Life, ctx context.Context) context.Context {
	if !o.keep {
		return ctx
	}
	return l.Join(ctx, o.life)
}
