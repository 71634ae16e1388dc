package proto

import "time"

// rest puts a connection without calls among the idle ones: those that go soon if it is
// of no more use, but not before it could say again how its last calls ended.
func (c *conn) rest(now Time) {
	e := c.e
	c.wake()
	c.idleAt, c.answered = now, false
	switch {
	case c.noReuse || c.state != connOpen || e.closed || !c.client && c.svc.closed:
		c.idleList = &e.dying
	case c.client:
		c.idleList = &e.idleClients
	default:
		c.idleList = &e.idleServices
	}
	c.idleList.add(c)
	e.armIdle()
}

// wake takes it from there.
func (c *conn) wake() {
	if c.idleList != nil {
		c.idleList.remove(c)
		c.idleList = nil
	}
}

// dyingIdle is how long a connection that is not used any more answers for the calls
// it had (Linux: 10 s).
const dyingIdle = 10 * time.Second

func (e *Endpoint) clientIdle() time.Duration {
	if reached(e.stats.LiveClientConns, e.cfg.Limits.ReapConns) {
		return e.cfg.Timers.ClientIdleFast
	}
	return e.cfg.Timers.ClientIdle
}

// idleTimer closes connections that have been idle for long enough.
type idleTimer struct {
	e *Endpoint
	timer
}

// mayIdle is how long connections of a list may stay there; negative: for ever.
func (e *Endpoint) mayIdle(l *list[conn]) time.Duration {
	switch l {
	case &e.idleClients:
		return e.clientIdle()
	case &e.idleServices:
		return e.cfg.Timers.ServiceIdle
	}
	return dyingIdle
}

// armIdle sets the timer of idle connections; of each list the first is idle longest.
func (e *Endpoint) armIdle() {
	when := never
	for _, l := range [...]*list[conn]{&e.idleClients, &e.idleServices, &e.dying} {
		if l.head == nil {
			continue
		}
		if most := e.mayIdle(l); most >= 0 {
			when = min(when, l.head.idleAt.Add(most))
		}
	}
	e.timers.arm(&e.idleTimer.timer, when)
}

func (t *idleTimer) expire(now Time) {
	e := t.e
	for _, l := range [...]*list[conn]{&e.idleClients, &e.idleServices, &e.dying} {
		for c := l.head; c != nil; c = l.head {
			if most := e.mayIdle(l); most < 0 || now < c.idleAt.Add(most) {
				break
			}
			c.close(now, "idle")
		}
	}
	e.armIdle()
}
