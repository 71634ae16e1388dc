package client

import (
	"context"
	"net"
)

// ctxArm makes the end of a context wake a blocked Read, by a read deadline in
// the past. Whoever is woken clears the deadline first and then looks at its
// context, so that no end is missed; a wake-up for somebody else is a look too many.
//
// The context of the last use stays armed, so that a loop of calls with the
// same one registers it once. Only the holder of the reading side uses it.
type ctxArm struct {
	done <-chan struct{}
	c    net.Conn
	stop func() bool
}

// arm prepares for a Read under ctx.
func (a *ctxArm) arm(ctx context.Context, c net.Conn) {
	done := ctx.Done()
	if done == nil || done == a.done && c == a.c {
		return
	}
	a.disarm()
	a.done, a.c = done, c
	a.stop = context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(past) })
}

func (a *ctxArm) disarm() {
	if a.stop != nil {
		a.stop()
	}
	*a = ctxArm{}
}
