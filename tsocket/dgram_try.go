package tsocket

import "context"

// TryRecvFrom is RecvFrom that does not wait: where it would, it fails with ErrAgain. It is for
// who waits by other means, as by Loop.Watch. ErrNotSupported for a socket that can only wait.
func (d *Dgram) TryRecvFrom(b []byte) (n int, src Addr, err error) {
	if d.try == nil {
		return 0, Addr{}, &OpError{Op: "recvfrom", Err: ErrNotSupported}
	}
	if refused := d.word.enter(bitIn, mayRead); refused != nil {
		return 0, Addr{}, &OpError{Op: "recvfrom", Err: refused}
	}
	defer d.word.leave(bitIn)
	s := &d.in
	if !s.isHeld {
		if err := s.takeError(); err != nil {
			return 0, Addr{}, err
		}
		data, src, err := d.try.TryRecvFrom(b)
		switch {
		case err != nil && isErr(err, ErrAgain):
			return 0, Addr{}, errRecvAgain
		case err != nil:
			return 0, Addr{}, d.recvError(err)
		case sameMemory(data, b):
			return len(data), src, nil
		case len(data) <= len(b):
			return copy(b, data), src, nil
		}
		s.hold(data, src)
	}
	return s.takeHeld(b)
}

// TrySendTo is SendTo that fails with ErrAgain where it would wait. ErrNotSupported
// for a socket that can only wait.
func (d *Dgram) TrySendTo(b []byte, dst Addr) (int, error) {
	if d.try == nil {
		return 0, &OpError{Op: "sendto", Err: ErrNotSupported}
	}
	if err := d.beginSend(len(b)); err != nil {
		return 0, err
	}
	err := d.try.TrySendTo(b, dst)
	d.word.leave(bitOut)
	switch {
	case err == nil:
		return len(b), nil
	case isErr(err, ErrAgain):
		return 0, errSendAgain
	}
	return 0, d.sendError(context.Background(), dst, err)
}

// TryRecvBatch is RecvBatch that fails with ErrAgain where it would wait.
func (d *Dgram) TryRecvBatch(msgs []Message) (int, error) {
	if err := d.beginRecvBatch(msgs); err != nil {
		return 0, err
	}
	j := recvBatchJob{d, msgs}
	n, err := j.try()
	d.word.leave(bitIn)
	if err != nil && isErr(err, ErrAgain) {
		err = errRecvBatchAgain
	}
	return n, err
}

// TrySendBatch is SendBatch that fails with ErrAgain where it would wait; also
// then it returns how many were sent.
func (d *Dgram) TrySendBatch(msgs []Message) (int, error) {
	first := 0
	if len(msgs) > 0 {
		first = len(msgs[0].Data)
	}
	if err := d.beginSend(first); err != nil {
		return 0, err
	}
	j := sendBatchJob{d: d, msgs: msgs}
	n, err := j.try()
	d.word.leave(bitOut)
	if err != nil && isErr(err, ErrAgain) {
		err = errSendBatchAgain
	}
	return n, err
}
