package rxrpc

import (
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// alarm is the one timer of an endpoint. It is set earlier, never later: that the
// protocol's deadline has moved on is found out when it goes off.
type alarm struct {
	t  *time.Timer
	at proto.Time // it goes off; 0: it is not set
}

func (a *alarm) fired() { a.at = 0 }

// ring is what the timer calls.
func (e *Endpoint) ring() {
	e.tok.mu.Lock()
	e.tok.tick = true
	e.take()
}

// rearm sets the timer to the protocol's deadline. The owner calls it.
func (e *Endpoint) rearm() {
	at, ok := e.p.Deadline()
	if !ok || e.closed.Load() {
		return
	}
	a := &e.timer
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = max(at, 1)
	d := max(at.Sub(e.now()), 0)
	if a.t == nil {
		a.t = time.AfterFunc(d, e.ring)
		return
	}
	a.t.Reset(d)
}

// now is the time on the protocol's scale.
func (e *Endpoint) now() proto.Time { return proto.Time(time.Since(e.start)) + 1 }
