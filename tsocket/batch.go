package tsocket

import (
	"bytes"
	"context"
)

// RecvBatch receives at least one datagram into msgs and returns how many: as
// many more as are there without waiting, and as fit. See Message for where the data is. The
// errors are those of RecvFrom, but ErrNoRoom; ErrInvalid if msgs is empty. An error that comes
// after a datagram is kept for the next receive.
//
// Where the system can, it is one system call (recvmmsg), and a fraction of one
// with EnableGRO. Otherwise it is one for each datagram, with the same outcome.
func (d *Dgram) RecvBatch(ctx context.Context, msgs []Message) (int, error) {
	if err := d.beginRecvBatch(msgs); err != nil {
		return 0, err
	}
	n, err := d.recvBatch(ctx, msgs)
	if err != nil {
		n, err = 0, d.batchError(ctx, err)
	}
	d.word.leave(bitIn)
	return n, err
}

func (d *Dgram) beginRecvBatch(msgs []Message) error {
	refused := ErrInvalid
	if len(msgs) > 0 {
		refused = d.word.enter(bitIn, mayRead)
	}
	if refused != nil {
		return &OpError{Op: "recvbatch", Err: refused}
	}
	return nil
}

func (d *Dgram) batchError(ctx context.Context, err error) error {
	if !d.word.has(bitClosed) && interrupted(ctx, err) {
		err = ctxError(ctx)
	}
	return d.recvError(err)
}

func (d *Dgram) recvBatch(ctx context.Context, msgs []Message) (int, error) {
	s := &d.in
	switch {
	case s.isHeld:
		s.isHeld = false
		msgs[0].keep(s.held, s.heldSrc)
		return 1, nil
	case s.nextErr != nil:
		return 0, s.takeError()
	case d.batch != nil:
		return d.batch.RecvBatch(ctx, msgs)
	}
	data, src, err := d.ops.RecvFrom(ctx, msgs[0].Buf)
	if err != nil {
		return 0, err
	}
	msgs[0].keep(data, src)
	return d.more(msgs, 1), nil
}

// more receives what is there without waiting.
func (d *Dgram) more(msgs []Message, n int) int {
	for ; n < len(msgs) && d.try != nil; n++ {
		data, src, err := d.try.TryRecvFrom(msgs[n].Buf)
		if err != nil {
			if !isErr(err, ErrAgain) {
				d.in.nextErr = err
			}
			break
		}
		msgs[n].keep(data, src)
	}
	return n
}

// keep stores a datagram that is valid until the next receive in memory of its
// own, or in Buf where it fits.
func (m *Message) keep(data []byte, src Addr) {
	m.Addr = src
	switch {
	case sameMemory(data, m.Buf):
		m.Data = m.Buf[:len(data)]
	case len(data) <= len(m.Buf):
		m.Data = m.Buf[:copy(m.Buf, data)]
	default:
		m.Data = bytes.Clone(data)
	}
}

// RecvBatchSend starts a RecvBatch. msgs belong to it until it is finished.
func (d *Dgram) RecvBatchSend(ctx context.Context, msgs []Message) *Request[int] {
	if err := d.beginRecvBatch(msgs); err != nil {
		return finishedAt(&d.home, 0, err)
	}
	j := &recvBatchJob{d, msgs}
	if ctx.Err() != nil {
		v, err := j.stop(ctxError(ctx))
		j.release()
		return finishedAt(&d.home, v, err)
	}
	if d.tryFirst.Load() {
		if n, err := j.try(); !isErr(err, ErrAgain) {
			j.release()
			return finishedOn(&d.in.lane, &d.home, n, err)
		}
	}
	r := newRequest(ctx, job[int](j), true)
	r.settleIn(&d.home)
	r.lane = &d.in.lane
	if r.waitIn(d.sys, false) {
		r.watchParent()
	} else {
		d.launch(r, r.watchParent)
	}
	return r
}

type recvBatchJob struct {
	d    *Dgram
	msgs []Message
}

func (j *recvBatchJob) try() (n int, err error) {
	d := j.d
	switch {
	case d.in.isHeld || d.in.nextErr != nil:
		n, err = d.recvBatch(context.Background(), j.msgs) // does not wait
	case d.tryBatch != nil:
		n, err = d.tryBatch.TryRecvBatch(j.msgs)
	case d.try != nil && d.batch == nil:
		if n = d.more(j.msgs, 0); n == 0 {
			if err = d.in.takeError(); err == nil {
				err = ErrAgain
			}
		}
	default:
		err = ErrAgain
	}
	if err != nil && !isErr(err, ErrAgain) {
		err = d.recvError(err)
	}
	return n, err
}

func (j *recvBatchJob) run(ctx context.Context) (int, error) {
	n, err := j.d.recvBatch(ctx, j.msgs)
	switch {
	case err == nil:
		return n, nil
	case !j.d.word.has(bitClosed) && interrupted(ctx, err):
		return 0, errInterrupted
	}
	return 0, j.d.recvError(err)
}

func (j *recvBatchJob) stop(cause error) (int, error) {
	return 0, &OpError{Op: "recvbatch", Err: cause}
}

func (j *recvBatchJob) release() { j.d.in.release() }
