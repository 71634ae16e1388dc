package client

import (
	"context"

	"github.com/cnbus/cnbus/connector"
)

// Close ends the endpoint. What was posted before goes out first, for at most
// Config.Linger.
func (e *Endpoint) Close() error {
	if e.closed.Swap(true) {
		<-e.gone
		return nil
	}
	e.cancel()
	e.look()
	// The reading side is taken for good.
	w := e.newOp(opSend)
	for {
		e.enqueue(&w.waiter)
		mine := e.token.CompareAndSwap(false, true)
		if !mine {
			<-w.ch
		}
		e.dequeue(&w.waiter)
		if mine {
			break
		}
	}
	s := &e.side
	s.arm.disarm()
	e.link.Store(nil)
	e.reading.Store(nil)
	if l := s.cur; l != nil {
		l.part(e.cfg.Linger, func() error {
			_, err := l.s.ReadSome(context.Background(), s.buf.room())
			return err
		})
	}
	e.ops.breakAll(connector.ErrClosed)
	e.calls.breakAll(connector.ErrClosed)
	e.wakeAll()
	e.bus.forget(e)
	close(e.gone)
	return nil
}
