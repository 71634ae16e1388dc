package proto

import (
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// challengeAgain sends a CHALLENGE, unless one was sent not long ago. Linux sends it once, and a lost one
// is the end of the call; OpenAFS repeats it every 2 s, 50 times, and so does this (section 3.3 of the reference):
// when something comes from the client, and by the timer. The address may be forged: the calls of whoever is silent
// end after Timers.HeardNothing, the CHALLENGEs with them, and all of them count as answers that anybody can ask for.
func (c *conn) challengeAgain(now Time) {
	t := &c.e.cfg.Timers
	if c.state == connChallenging && now < c.challengeAt || c.state != connChallenging && c.state != connUnsecured {
		return
	}
	if reached(c.tries, t.ChallengeTries) {
		c.abortAll(now, wire.CallDead, syscall.ETIME, "the client does not prove itself", nil)
		return
	}
	if !c.e.mayReply(now, c.peer.addr, 1) {
		return
	}
	c.state, c.challenge = connChallenging, true
	c.tries++
	c.challengeAt = now.Add(t.Challenge)
	c.e.connsToSend.add(c)
	if t.Challenge > 0 {
		c.e.timers.arm(&c.timer, c.challengeAt)
	}
}

// challengeTimer repeats the CHALLENGE if that is due, and returns when it will be.
func (c *conn) challengeTimer(now Time) Time {
	every := c.e.cfg.Timers.Challenge
	if c.state != connChallenging || c.active == 0 || every <= 0 {
		return never
	}
	if now < c.challengeAt {
		return c.challengeAt
	}
	if c.challengeAgain(now); c.state != connChallenging {
		return never
	}
	// If there have been too many answers of late the client may still ask for it.
	return max(c.challengeAt, now.Add(every))
}

// challenged answers a CHALLENGE, if a call waits for that (section 9 of the reference: a client is no
// oracle), with one RESPONSE at a time.
func (c *conn) challenged(now Time, h *wire.Header, body []byte) {
	running := false
	for i := range c.channels {
		if call := c.channels[i].call; call != nil && call.exposed {
			running = true
		}
	}
	if !c.client || c.plain || !running || c.state != connOpen || len(c.response) > 0 {
		c.e.drop(now, c.peer.addr, h, "CHALLENGE that nobody expects")
		return
	}
	r, err := c.sec.Respond(c.response[:0], body, c.numbers())
	if err == nil && len(r) > maxBody {
		err = &AbortError{Code: wire.ProtocolError, Reason: "a response longer than a datagram"}
	}
	if err != nil {
		c.abortAll(now, codeOf(err, wire.ProtocolError), errnoOf(err, syscall.EPROTO), "the challenge cannot be answered", err)
		return
	}
	c.response = r
	c.answered = true
	c.e.connsToSend.add(c)
}

// responded verifies a RESPONSE: one that was asked for, once.
func (c *conn) responded(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	e := c.e
	if c.client || c.state != connChallenging {
		e.drop(now, from, h, "RESPONSE that nobody expects")
		return
	}
	numbers := c.numbers()
	raised, err := c.sec.Verify(now, body, numbers)
	for i := range raised {
		if err == nil && (raised[i] < numbers[i] || raised[i] > wire.MaxCallNumber) {
			err = &AbortError{Code: wire.ProtocolError, Reason: "call numbers of a response that go back"}
		}
	}
	if e.hooks.Secured != nil {
		e.hooks.Secured(now, c.id, c.sec.Describe(), err)
	}
	if err != nil {
		c.abortAll(now, codeOf(err, wire.ProtocolError), errnoOf(err, syscall.EACCES), "the response is refused", err)
		return
	}
	for i := range c.channels {
		// What the client counts may be a call of which nothing has arrived yet: what lies
		// before it is the past.
		if ch := &c.channels[i]; ch.call == nil && raised[i] > 0 {
			ch.number = max(ch.number, raised[i]-1)
		}
	}
	e.limiter.giveBack(c.peer.addr.Addr(), 1) // so that what is asked for in earnest is not limited
	c.state, c.secured, c.challenge, c.held = connOpen, true, false, 0
	for i := range c.channels {
		if call := c.channels[i].call; call != nil {
			call.rx.held = 0
		}
	}
	if c.active == 0 {
		c.rest(now)
	}
	for i := range c.channels {
		call := c.channels[i].call
		if call == nil {
			continue
		}
		if !call.svc.hasRoom() {
			call.hidden = false
			call.turnAway(now)
			continue
		}
		call.svc.take(call)
		e.callsToSend.add(call)
		call.opened(now)
	}
}
