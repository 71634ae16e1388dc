package tsocket

import "context"

// Disconnect ends the connection in the orderly way of its kind. It works after
// an error of the stream too. A monitor ends with ErrDisconnecting; what is
// outstanding otherwise forbids it: the OpError's Err is
//
//	ErrAlready         another disconnect is outstanding
//	ErrBusy            a read or a write is outstanding
//	ErrNotConnected    after a disconnect
//	ErrClosed          after Close
//
// When it fails otherwise, or ctx ends, the stream is as it was. Close frees it at once.
func (s *Stream) Disconnect(ctx context.Context) error {
	if err := s.word.enter(bitDisconnecting, mayDisconnect); err != nil {
		return &OpError{Op: "disconnect", Err: err}
	}
	d := disconnectJob{s}
	_, err := d.run(ctx)
	if err == errInterrupted {
		_, err = d.stop(ctxError(ctx))
	}
	d.release()
	return err
}

// DisconnectSend starts a Disconnect.
func (s *Stream) DisconnectSend(ctx context.Context) *Request[struct{}] {
	if err := s.word.enter(bitDisconnecting, mayDisconnect); err != nil {
		return finishedAt(&s.home, struct{}{}, error(&OpError{Op: "disconnect", Err: err}))
	}
	d := disconnectJob{s}
	if s.try != nil { // such a stream only closes its descriptor
		_, err := d.run(ctx)
		if err != errInterrupted {
			d.release()
			return finishedAt(&s.home, struct{}{}, err)
		}
	}
	r := newRequest(ctx, job[struct{}](d), true)
	r.settleIn(&s.home)
	r.promote()
	r.watchParent()
	return r
}

type disconnectJob struct{ s *Stream }

func (d disconnectJob) run(ctx context.Context) (struct{}, error) {
	s := d.s
	s.tellMonitor(ErrDisconnecting)
	err := s.ops.Disconnect(ctx)
	switch {
	case err == nil:
		s.word.v.Or(bitDisconnected)
		s.home.leave(s)
		return struct{}{}, nil
	case s.word.has(bitClosed):
		err = ErrClosed
	case interrupted(ctx, err):
		return struct{}{}, errInterrupted
	}
	return struct{}{}, &OpError{Op: "disconnect", Err: err}
}

func (d disconnectJob) stop(cause error) (struct{}, error) {
	return struct{}{}, &OpError{Op: "disconnect", Err: cause}
}

func (d disconnectJob) release() { d.s.word.leave(bitDisconnecting) }
