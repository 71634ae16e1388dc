package tsocket

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
)

// Dgram is a socket for datagrams. It owns the rules that are the same for
// every kind of datagram socket; DgramOps is what differs.
//
// One receive, one send and one disconnect may be outstanding at a time, from
// any goroutines; another one of the same direction fails with ErrBusy. An error
// is that of one operation: the next one is made as if it had not been.
//
// No datagram is cut off, and none is lost because a buffer was too small.
type Dgram struct {
	ops      DgramOps
	try      TryDgramOps // nil: it cannot
	batch    BatchOps    // nil: it cannot
	tryBatch TryBatchOps // nil: it cannot

	word word
	home home
	sys  *sysfd // nil: it is no descriptor
	in   recvSide
	out  sendSide

	tryFirst atomic.Bool

	mu     sync.Mutex    // guards parked; nothing is called under it
	parked parkedRequest // the receive that nobody runs yet
}

// Datagram is a datagram in memory of its own.
type Datagram struct {
	Data []byte
	Src  Addr // the zero Addr if the sender has no name
}

// RoomError says how much room the next datagram needs. It is ErrNoRoom.
type RoomError struct{ Need int }

func (e *RoomError) Error() string {
	return ErrNoRoom.text + ": " + strconv.Itoa(e.Need) + " bytes"
}

// Unwrap returns ErrNoRoom.
func (e *RoomError) Unwrap() error { return ErrNoRoom }

// NewDgram makes a datagram socket of ops.
func NewDgram(ops DgramOps) *Dgram {
	d := &Dgram{ops: ops}
	d.try, _ = ops.(TryDgramOps)
	d.batch, _ = ops.(BatchOps)
	d.tryBatch, _ = ops.(TryBatchOps)
	if f := d.base(); f != nil {
		d.sys = &f.sys
	}
	d.tryFirst.Store(true)
	d.in.d, d.out.d = d, d
	return d
}

// Ops returns what the socket was made of, for who knows its kind.
func (d *Dgram) Ops() DgramOps { return d.ops }

// base returns the socket of a descriptor, nil for another kind.
func (d *Dgram) base() *fdDgram {
	if o, ok := d.ops.(interface{ base() *fdDgram }); ok {
		return o.base()
	}
	return nil
}

// LocalAddr returns the local address, the zero Addr if there is none.
func (d *Dgram) LocalAddr() Addr {
	if a, ok := d.ops.(AddrOps); ok {
		return a.LocalAddr()
	}
	return Addr{}
}

// RemoteAddr returns the address that the socket is connected to, the zero
// Addr if it is not.
func (d *Dgram) RemoteAddr() Addr {
	if a, ok := d.ops.(AddrOps); ok {
		return a.RemoteAddr()
	}
	return Addr{}
}

// SetTryFirst says whether RecvFromSend tries the system call at once, before it
// leaves the operation to a goroutine. It returns what was set before. It is on unless
// switched off; C's tdgram_bsd_optimize_recvfrom is off unless switched on. Sends are always
// tried.
func (d *Dgram) SetTryFirst(on bool) bool { return d.tryFirst.Swap(on) }

// Disconnect closes the socket in the orderly way of its kind. The OpError's
// Err is
//
//	ErrAlready         another disconnect is outstanding
//	ErrBusy            a receive or a send is outstanding
//	ErrNotConnected    after a disconnect
//	ErrClosed          after Close
func (d *Dgram) Disconnect(ctx context.Context) error {
	if err := d.word.enter(bitDisconnecting, mayDisconnect); err != nil {
		return &OpError{Op: "disconnect", Err: err}
	}
	j := dgramDisconnect{d}
	_, err := j.run(ctx)
	if err == errInterrupted {
		_, err = j.stop(ctxError(ctx))
	}
	j.release()
	return err
}

// DisconnectSend starts a Disconnect.
func (d *Dgram) DisconnectSend(ctx context.Context) *Request[struct{}] {
	if err := d.word.enter(bitDisconnecting, mayDisconnect); err != nil {
		return finishedAt(&d.home, struct{}{}, error(&OpError{Op: "disconnect", Err: err}))
	}
	j := dgramDisconnect{d}
	if d.try != nil { // such a socket only closes its descriptor
		if _, err := j.run(ctx); err != errInterrupted {
			j.release()
			return finishedAt(&d.home, struct{}{}, err)
		}
	}
	r := newRequest(ctx, job[struct{}](j), true)
	r.settleIn(&d.home)
	r.promote()
	r.watchParent()
	return r
}

type dgramDisconnect struct{ d *Dgram }

func (j dgramDisconnect) run(ctx context.Context) (struct{}, error) {
	err := j.d.ops.Disconnect(ctx)
	switch {
	case err == nil:
		j.d.word.v.Or(bitDisconnected)
		j.d.home.leave(j.d)
		return struct{}{}, nil
	case j.d.word.has(bitClosed):
		err = ErrClosed
	case interrupted(ctx, err):
		return struct{}{}, errInterrupted
	}
	return struct{}{}, &OpError{Op: "disconnect", Err: err}
}

func (j dgramDisconnect) stop(cause error) (struct{}, error) {
	return struct{}{}, &OpError{Op: "disconnect", Err: cause}
}

func (j dgramDisconnect) release() { j.d.word.leave(bitDisconnecting) }

// Close frees the socket at once. Whatever is outstanding fails with ErrClosed,
// and so does whatever comes later; further calls do nothing.
func (d *Dgram) Close() error {
	v := d.word.v.Or(bitClosed)
	if v&bitClosed != 0 {
		return nil
	}
	d.home.leave(d)
	var err error
	if v&bitDisconnected == 0 {
		if err = d.ops.Close(); err != nil {
			err = &OpError{Op: "close", Err: err}
		}
	}
	d.mu.Lock()
	parked := d.parked
	d.mu.Unlock()
	if parked != nil {
		parked.halt(ErrClosed)
	}
	return err
}

// launch sees to it that a receive request is run: later, where trying is cheap
// and somebody may call Wait; at once otherwise.
func (d *Dgram) launch(r parkedRequest, watch func()) {
	if d.try == nil || !d.tryFirst.Load() {
		r.promote()
		watch()
		return
	}
	d.mu.Lock()
	d.parked = r
	d.mu.Unlock()
	if d.word.has(bitClosed) {
		r.halt(ErrClosed)
		return
	}
	d.in.lane.start(r)
	watch()
}
