package tsocket

import (
	"context"
	"syscall"
)

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
		return finished(struct{}{}, error(&OpError{Op: "disconnect", Err: err}))
	}
	d := disconnectJob{s}
	if s.try != nil { // such a stream only closes its descriptor
		_, err := d.run(ctx)
		if err != errInterrupted {
			d.release()
			return finished(struct{}{}, err)
		}
	}
	r := newRequest(ctx, job[struct{}](d), true)
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

// CloseWrite tells the peer that nothing more will be written, while reading
// goes on. The OpError's Err is as that of Writev; ErrNotSupported if this kind of stream
// has no such thing. C has none at all. Later writes fail with EPIPE.
func (s *Stream) CloseWrite(ctx context.Context) error {
	const op = "close write"
	if s.writeOps == nil {
		return &OpError{Op: op, Err: ErrNotSupported}
	}
	if err := s.word.enter(bitOut, mayWrite); err != nil {
		return &OpError{Op: op, Err: err}
	}
	defer s.word.leave(bitOut)
	if e := s.writeErr.Load(); e != nil {
		return &OpError{Op: op, Err: e.Err}
	}
	err := s.writeOps.CloseWrite(ctx)
	switch {
	case err == nil:
		s.writeErr.CompareAndSwap(nil, &OpError{Op: op, Err: syscall.EPIPE})
		return nil
	case s.word.has(bitClosed):
		err = ErrClosed
	case interrupted(ctx, err):
		err = ctxError(ctx)
	}
	return &OpError{Op: op, Err: err}
}
