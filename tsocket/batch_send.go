package tsocket

import "context"

// SendBatch sends the Data of msgs, in order, each to its Addr, and returns how
// many were sent; an error is about the one after these. The errors are those of
// SendTo; ErrInvalid also if there are no msgs.
//
// Where the system can, it is one system call (sendmmsg), and neighbours of one
// length and destination are handed over as one (UDP_SEGMENT). Otherwise it is one
// call for each, with the same outcome.
func (d *Dgram) SendBatch(ctx context.Context, msgs []Message) (int, error) {
	first := 0
	if len(msgs) > 0 {
		first = len(msgs[0].Data)
	}
	if err := d.beginSend(first); err != nil {
		return 0, err
	}
	n, err := d.sendBatch(ctx, msgs)
	if err != nil {
		err = d.sendError(ctx, msgs[n].Addr, err)
	}
	d.word.leave(bitOut)
	return n, err
}

// sendBatch sends until all is sent, or something is wrong with msgs[n].
func (d *Dgram) sendBatch(ctx context.Context, msgs []Message) (n int, err error) {
	full := upToEmpty(msgs)
	for n < full && err == nil {
		if d.batch != nil {
			var k int
			k, err = d.batch.SendBatch(ctx, msgs[n:full])
			n += k
			continue
		}
		if err = d.ops.SendTo(ctx, msgs[n].Data, msgs[n].Addr); err == nil {
			n++
		}
	}
	if err == nil && full < len(msgs) {
		err = ErrInvalid
	}
	return n, err
}

// upToEmpty returns how many messages come before one without data.
func upToEmpty(msgs []Message) int {
	for i := range msgs {
		if len(msgs[i].Data) == 0 {
			return i
		}
	}
	return len(msgs)
}

// SendBatchSend starts a SendBatch. msgs belong to it until it is finished.
func (d *Dgram) SendBatchSend(ctx context.Context, msgs []Message) *Request[int] {
	first := 0
	if len(msgs) > 0 {
		first = len(msgs[0].Data)
	}
	if err := d.beginSend(first); err != nil {
		return finishedAt(&d.home, 0, err)
	}
	j := &sendBatchJob{d: d, msgs: msgs}
	if ctx.Err() != nil {
		v, err := j.stop(ctxError(ctx))
		j.release()
		return finishedAt(&d.home, v, err)
	}
	if n, err := j.tryUnder(ctx); !isErr(err, ErrAgain) {
		j.release()
		return finishedOn(&d.out.lane, &d.home, n, err)
	}
	r := newRequest(ctx, job[int](j), true)
	r.settleIn(&d.home)
	r.lane = &d.out.lane
	if !r.waitIn(d.sys, true) {
		r.promote()
	}
	r.watchParent()
	return r
}

type sendBatchJob struct {
	d    *Dgram
	msgs []Message
	n    int
}

func (j *sendBatchJob) try() (int, error) { return j.tryUnder(context.Background()) }

func (j *sendBatchJob) tryUnder(ctx context.Context) (int, error) {
	d := j.d
	full := upToEmpty(j.msgs)
	for j.n < full {
		var err error
		switch {
		case d.tryBatch != nil:
			var k int
			k, err = d.tryBatch.TrySendBatch(j.msgs[j.n:full])
			j.n += k
		case d.try != nil && d.batch == nil:
			if err = d.try.TrySendTo(j.msgs[j.n].Data, j.msgs[j.n].Addr); err == nil {
				j.n++
			}
		default:
			err = ErrAgain
		}
		if err != nil {
			if !isErr(err, ErrAgain) {
				err = d.sendError(ctx, j.msgs[j.n].Addr, err)
			}
			return j.n, err
		}
	}
	if full < len(j.msgs) {
		return j.n, d.sendError(ctx, j.msgs[full].Addr, ErrInvalid)
	}
	return j.n, nil
}

func (j *sendBatchJob) run(ctx context.Context) (int, error) {
	k, err := j.d.sendBatch(ctx, j.msgs[j.n:])
	j.n += k
	switch {
	case err == nil:
		return j.n, nil
	case !j.d.word.has(bitClosed) && interrupted(ctx, err):
		return j.n, errInterrupted
	}
	return j.n, j.d.sendError(ctx, j.msgs[j.n].Addr, err)
}

// stop: the number tells how many were sent.
func (j *sendBatchJob) stop(cause error) (int, error) {
	return j.n, &OpError{Op: "sendbatch", Err: cause}
}

func (j *sendBatchJob) release() { j.d.out.release() }
