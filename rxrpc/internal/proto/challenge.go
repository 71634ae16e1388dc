package proto

import (
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// ask sends a CHALLENGE, unless one was sent not long ago. Linux sends it once, and a lost one is the end of the call;
// OpenAFS repeats it every 2 s, 50 times, and so does this (section 3.3 of the reference): when something comes from
// the client, and, as long as there is no flood, by the timer. The address may be forged: who is silent is forgotten
// after Timers.HeardNothing, and all CHALLENGEs count as answers that anybody can ask for. Those that are no longer than
// what asks for them, of so many bytes, and those to addresses with connections that are proven, count for their address only:
// a flood of other addresses does not keep anybody from being asked.
func (x *halfOpen) ask(now Time, bytes int) {
	e, t := x.e, &x.e.cfg.Timers
	if x.asked && now < x.challengeAt {
		return
	}
	if reached(x.tries, t.ChallengeTries) {
		x.refuse(now, wire.CallDead)
		return
	}
	if !x.mayAsk(now, bytes) {
		return
	}
	x.asked, x.challenge = true, true
	x.tries++
	x.challengeAt = now.Add(t.Challenge)
	e.half.toSend.add(x)
}

func (x *halfOpen) mayAsk(now Time, bytes int) bool {
	e := x.e
	if x.host.proven == 0 && bytes < wire.HeaderSize+len(x.sec.Challenge(e.soft[:0])) {
		return e.mayReply(now, x.id.Peer, 1)
	}
	if !e.limiter.allowAlone(now, x.id.Peer.Addr(), 1) {
		e.stats.RepliesLimited++
		return false
	}
	return true
}

// responded verifies a RESPONSE: one that was asked for, once. If it is right there is a connection, which receives what
// was held, as far as it is the client's.
func (x *halfOpen) responded(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	e := x.e
	if !x.asked {
		e.drop(now, from, h, "RESPONSE that nobody expects")
		return
	}
	if why := e.makeRoom(now, from); why != "" {
		x.turnAway(now, why)
		return // and will be asked again
	}
	// What was held may be anybody's: it says nothing about the calls there were.
	raised, err := x.sec.Verify(now, body, [wire.Channels]wire.CallNumber{})
	for _, n := range raised {
		if err == nil && n > wire.MaxCallNumber {
			err = &AbortError{Code: wire.ProtocolError, Reason: "a call number of a response that cannot be"}
		}
	}
	if e.hooks.Secured != nil {
		e.hooks.Secured(now, x.id, x.sec.Describe(), err)
	}
	if err != nil {
		x.refuse(now, codeOf(err, wire.ProtocolError))
		return
	}
	e.limiter.giveBack(from.Addr(), 1) // so that what is asked for in earnest is not limited
	x.open(now, from, raised).receiveHeld(now, from, x.takeHeld())
}

// turnAway says BUSY to the calls that have begun.
func (x *halfOpen) turnAway(now Time, why string) {
	for _, d := range x.held {
		if h, _, err := wire.ParseHeader(d); err == nil && h.Seq == 1 {
			x.e.drop(now, x.id.Peer, &h, why)
			x.e.busy(now, x.id.Peer, &h)
		}
	}
	x.letGo()
}

// open makes the connection.
func (x *halfOpen) open(now Time, from netip.AddrPort, raised [wire.Channels]wire.CallNumber) *conn {
	c := x.e.newConn(now, x.e.peerOf(now, from), x.id, false)
	c.secure(x.sec)
	c.svc, c.service, c.serial, c.secured = x.svc, x.service, x.serial, true
	c.peer.host.proven++
	c.packetsIn++
	for i, n := range raised {
		if n > 0 { // the client counts a call of which nothing may have arrived yet: what lies before it is the past
			c.channels[i].number = n - 1
		}
	}
	return c
}

// takeHeld ends the half-open connection and returns what it has held.
func (x *halfOpen) takeHeld() [][]byte {
	held := x.held
	x.leave()
	return held
}

// receiveHeld receives what came before the RESPONSE. A packet whose checksum is wrong is somebody else's, and as if it had not come.
func (c *conn) receiveHeld(now Time, from netip.AddrPort, held [][]byte) {
	e := c.e
	for _, d := range held {
		h, body, err := wire.ParseHeader(d)
		if err != nil {
			continue
		}
		id := PacketID{Call: h.Call, Channel: h.CID.Channel(), Seq: h.Seq, ToServer: true}
		if c.state == connOpen && c.sec.Check(id, h.Checksum) != nil {
			e.stats.ChecksumBad++
			e.drop(now, from, &h, "checksum")
			continue
		}
		e.toServer(now, from, &h, body)
	}
	for i := range c.channels {
		if call := c.channels[i].call; call != nil {
			call.ack.late()
		}
	}
	if c.active == 0 && c.idleList == nil && c.peerNode.on {
		c.rest(now)
	}
}

// transmit writes the next packet, or nil.
func (x *halfOpen) transmit(buf []byte) []byte {
	h := wire.Header{Epoch: x.id.Epoch, CID: x.id.CID, Security: x.index, Service: x.service}
	switch {
	case x.abort:
		x.abort = false
		x.serial++
		h.Type, h.Serial = wire.TypeAbort, x.serial
		return wire.AppendAbort(h.Append(buf), x.code)
	case x.challenge:
		x.challenge = false
		x.serial++
		h.Type, h.Serial = wire.TypeChallenge, x.serial
		return x.sec.Challenge(h.Append(buf))
	}
	return nil
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
