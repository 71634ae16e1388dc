package proto

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Abort ends the call with a code, which the peer is told. An ended call is left as it is.
// What has arrived and was not taken is gone.
func (c *Call) Abort(now Time, code wire.AbortCode) {
	c.abort(now, code, syscall.ECONNABORTED, "", nil)
}

// abort ends the call from this side.
func (c *Call) abort(now Time, code wire.AbortCode, errno syscall.Errno, why string, err error) {
	c.complete(now, Result{Completion: LocallyAborted, Code: code, Errno: errno, Why: why, Err: err})
}

// violated ends the call because of what the peer has sent.
func (c *Call) violated(now Time, why string) {
	c.abort(now, wire.ProtocolError, syscall.EPROTO, why, nil)
}

// complete ends the call, once.
func (c *Call) complete(now Time, r Result) {
	if c.state == Complete {
		return
	}
	e := c.e
	c.result, c.state = r, Complete
	if r.Failed() {
		e.stats.CallsFailed++
		c.rx.drop(e)
	} else {
		e.stats.CallsOK++
	}
	c.snd.Done(cc.Time(now))
	c.tx.drop(&e.txPool)
	e.timers.disarm(&c.timer)
	e.callsToSend.remove(c)
	c.finish(now, &r)
	c.waits = false
	if e.hooks.CallEnded != nil {
		e.hooks.CallEnded(now, c, r)
	}
	if c.released {
		c.recycle()
		return
	}
	c.tell(Ended)
}

// finish leaves the channel, the bundle, the service, and says on the channel what the
// peer is told if it asks.
func (c *Call) finish(now Time, r *Result) {
	e := c.e
	if s := c.svc; s != nil {
		s.waiting.remove(c)
		s.calls.remove(c)
		e.serviceCalls--
		c.peer.host.calls--
	}
	cn := c.conn
	if cn != nil {
		if cn.plain {
			c.info = none{}.Describe()
		} else {
			c.info = cn.sec.Describe()
		}
		ch := &cn.channels[c.channel]
		if c.exposed || !c.client {
			ch.end, ch.due, ch.finalAt = endNothing, false, never
			switch {
			case r.Completion == Succeeded && c.client:
				ch.end, ch.last = endAck, c.rx.next-1
			case r.Completion == LocallyAborted || r.Completion == LocalError:
				ch.end, ch.code = endAbort, r.Code
				if ch.code == 0 {
					ch.code = wire.UserAbort
				}
				if !c.superseded(r) {
					ch.due = true
					e.connsToSend.add(cn)
				}
			}
		}
		c.conn = nil
		cn.leave(now, c)
	}
	if b := c.bundle; b != nil {
		b.waiting.remove(c)
		b.calls--
		c.peer.calls--
		e.clientCalls--
		c.bundle = nil
		b.forget()
		c.peer.rest(now)
	}
}

// superseded reports whether nobody waits for news of the call: the client has begun the
// next one, or the connection's ABORT says it.
func (c *Call) superseded(r *Result) bool {
	return c.conn.state == connAborted || r.Why == whyNewCall
}

// Release gives the call back. If it has not ended and the application has said all
// it had to say (a service call whose reply is queued to its end) it goes on by itself,
// without events; otherwise it is aborted by RX_CALL_DEAD.
func (c *Call) Release(now Time) {
	if c.released || c.state == Unused {
		return
	}
	c.e.events.remove(c)
	c.news = 0
	switch {
	case c.state == Complete:
		c.recycle()
	case !c.client && c.tx.ended:
		c.released = true
	default:
		c.released = true
		c.abort(now, wire.CallDead, syscall.ECONNABORTED, "released", nil)
	}
}

// securityFailed is how calls end whose security class refuses them.
func securityFailed(err error) Result {
	return Result{Completion: LocalError, Code: codeOf(err, wire.UserAbort), Errno: errnoOf(err, errno.KeyRejected), Why: "security", Err: err}
}
