package proto

import (
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// rearm sets the call's timer for whatever comes first. It is called when the call has nothing
// more to send.
func (c *Call) rearm(now Time) {
	if c.state == Complete || c.state == Unused {
		return
	}
	when := c.hardAt
	if c.conn != nil && (c.exposed || !c.client) {
		if at, ok := c.snd.Deadline(); ok {
			when = min(when, Time(at))
		}
		when = min(when, c.ack.at, c.pingAt)
		if d := c.normal(); d > 0 {
			when = min(when, c.heardAt.Add(d))
		}
		if d := c.keepalive(); d > 0 {
			when = min(when, c.sentAt.Add(d))
		}
		if d := c.idle(); d > 0 && c.state == RecvRequest {
			when = min(when, c.reqAt.Add(d))
		}
	}
	c.e.timers.arm(&c.timer, when)
}

// expire does what is due of a call (sections 2.4 and 3.7 of the reference).
func (c *Call) expire(now Time) {
	if c.state == Complete || c.state == Unused {
		return
	}
	c.e.callsToSend.add(c) // and so the timer is set again
	if now >= c.hardAt {
		c.timedOut(now, "hard time-out")
		return
	}
	if c.conn == nil || c.client && !c.exposed {
		return
	}
	if d := c.normal(); d > 0 && now >= c.heardAt.Add(d) {
		c.dead(now)
		return
	}
	if d := c.idle(); d > 0 && c.state == RecvRequest && now >= c.reqAt.Add(d) {
		c.timedOut(now, "the request does not go on")
		return
	}
	if now >= c.ack.at {
		c.ack.at = never
		c.ackFor(wire.AckDelay, 0)
	}
	c.retransmit(now)
	if now >= c.pingAt {
		// The request has arrived, the reply has not: perhaps it was lost.
		c.ping = true
		c.pingGap = min(2*c.pingGap, max(c.e.cfg.Timers.Keepalive, c.e.cfg.Timers.LostReply))
		c.pingAt = now.Add(c.pingGap)
	}
	if d := c.keepalive(); d > 0 && now >= c.sentAt.Add(d) {
		c.ping = true
	}
}

// keepalive is after how long of silence the peer is sent a PING; 0: it is not.
func (c *Call) keepalive() time.Duration {
	if c.conn == nil || c.highest == 0 {
		return 0
	}
	return c.e.cfg.Timers.Keepalive
}

// retransmit lets the sender do what is due.
func (c *Call) retransmit(now Time) {
	at, ok := c.snd.Deadline()
	if !ok || cc.Time(now) < at {
		return
	}
	action, r := c.snd.OnTimer(cc.Time(now))
	c.reduced(r)
	switch action {
	case cc.ActPing:
		c.ping = true
	case cc.ActTimeout:
		c.e.stats.Timeouts++
		c.peer.progress(now, r, true)
		if n, ago := c.snd.Stalled(cc.Time(now)); n >= stallTimeouts && c.normal() > 0 && ago > cc.Time(stallPatience*c.normal()) {
			c.timedOut(now, "the peer is there, and data does not reach it")
			return
		}
	default:
		if r.Lost > 0 {
			c.peer.progress(now, r, false)
		}
	}
	if r.Lost > 0 && c.e.hooks.Lost != nil {
		if seq, ok := c.snd.Lost(); ok {
			c.e.hooks.Lost(now, c, seq, action == cc.ActTimeout)
		}
	}
}

// A call whose data does not arrive although its peer does answer (a path that passes
// small packets, and no fragments of larger ones) ends after so many time-outs in a
// row, and after so many times what may pass without hearing anything.
const (
	stallTimeouts = 10
	stallPatience = 3
)

// timedOut ends a call that takes too long.
func (c *Call) timedOut(now Time, why string) {
	c.abort(now, wire.CallTimeout, syscall.ETIME, why, nil)
}

// dead ends a call of which nothing was heard for too long. If something was before, and the
// connection has heard of others since, the peer is there and has lost the call (section 3.7).
func (c *Call) dead(now Time) {
	cn := c.conn
	if c.client {
		cn.noReuse = true // the way to the server, or what it knows of the connection, may be gone
	}
	if c.highest != 0 && cn.highest.After(c.highest) {
		c.abort(now, wire.CallDead, syscall.ECONNRESET, "the peer has lost the call", nil)
		return
	}
	c.timedOut(now, "nothing was heard")
}
