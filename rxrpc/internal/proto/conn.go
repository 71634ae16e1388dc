package proto

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// connState is what a connection can be used for. One whose client has yet to prove itself is a halfOpen (section 3.3 of the reference).
type connState uint8

const (
	connOpen connState = iota
	connAborted
)

// A conn is a connection: a client's instance of a service at a peer, with four
// channels of one call each.
type conn struct {
	e       *Endpoint
	peer    *peer
	id      ConnID         // as the client first asked for it
	service wire.ServiceID // what it became: the same, or the upgrade's
	index   wire.SecurityIndex
	client  bool
	plain   bool // no security: bodies are data
	stretch int  // bytes that may follow a body
	state   connState
	noReuse bool // a client's: no more calls
	sec     SecurityConn

	serial   wire.Serial // last one sent
	highest  wire.Serial // highest one received
	channels [wire.Channels]channel
	active   uint8 // channels with a call, by bits

	bundle  *bundle // of a client's
	slot    int     // in the bundle
	probing *Call   // a client's call that asks for an upgrade
	sibling *conn   // of a service: the next with the same epoch and cid, from another address
	svc     *Service
	pos     int // in Endpoint.allConns

	idleAt   Time
	idleList *list[conn] // nil: it has calls
	idleNode node[conn]
	sendNode node[conn]
	peerNode node[conn]

	timer    timer
	secured  bool // of a service: a RESPONSE was accepted
	answered bool // a CHALLENGE was answered in the life of the calls there are
	response []byte
	abort    bool // a connection ABORT is to be sent
	code     wire.AbortCode

	packetsIn, packetsOut uint32
	bytesIn, bytesOut     uint32
}

// A channel carries calls one after the other.
type channel struct {
	call   *Call
	number wire.CallNumber // last used up (a client's), last seen (a service's)

	// How that call ended, for a peer that asks again (section 3.1 of the reference).
	end  ending
	code wire.AbortCode
	last wire.Seq // of what was received

	// What is to be sent of the end: a final ACK at some time, or now.
	finalAt Time // never: not waited for
	reason  wire.AckReason
	answers wire.Serial
	due     bool
}

// ending is how a call ended.
type ending uint8

const (
	endNothing ending = iota // nothing is to be said of it
	endAck                   // all of the reply has arrived
	endAbort
)

func (e *Endpoint) newConn(now Time, p *peer, id ConnID, client bool) *conn {
	c := &conn{e: e, peer: p, id: id, service: id.Service, client: client}
	c.timer.owner = c
	for i := range c.channels {
		c.channels[i].finalAt = never
	}
	p.used()
	p.conns.add(c)
	c.pos = len(e.allConns)
	e.allConns = append(e.allConns, c)
	if client {
		p.clients++
		e.stats.LiveClientConns++
		e.clients[id.CID] = c
	} else {
		p.host.conns++
		e.stats.LiveServiceConns++
		key := connKey{id.Epoch, id.CID}
		c.sibling = e.conns[key]
		e.conns[key] = c
	}
	if e.hooks.ConnOpened != nil {
		e.hooks.ConnOpened(now, client, id)
	}
	return c
}

func (c *conn) secure(s SecurityConn) {
	c.sec = s
	c.index = s.Index()
	_, c.plain = s.(none)
	if t, ok := s.(Stretcher); ok {
		c.stretch = t.Stretch()
	}
}

// close forgets a connection that has no calls.
func (c *conn) close(now Time, why string) {
	e := c.e
	e.timers.disarm(&c.timer)
	c.wake()
	e.connsToSend.remove(c)
	e.allConns = swapOut(e.allConns, c.pos)
	if c.pos < len(e.allConns) {
		e.allConns[c.pos].pos = c.pos
	}
	c.peer.conns.remove(c)
	if c.peer.probe == c {
		c.peer.probe = nil
	}
	if c.client {
		c.peer.clients--
		e.stats.LiveClientConns--
		delete(e.clients, c.id.CID)
		c.bundle.drop(c)
	} else {
		c.peer.host.conns--
		if c.secured {
			c.peer.host.proven--
		}
		e.stats.LiveServiceConns--
		c.unlink()
	}
	if c.sec != nil {
		c.sec.Wipe()
	}
	c.peer.rest(now)
	if e.hooks.ConnClosed != nil {
		e.hooks.ConnClosed(now, c.client, c.id, why)
	}
}

// swapOut takes an element out by putting the last in its place.
func swapOut[T any](s []*T, i int) []*T {
	n := len(s) - 1
	s[i], s[n] = s[n], nil
	return s[:n]
}

// unlink takes a service connection out of those that its epoch and cid find.
func (c *conn) unlink() {
	key := connKey{c.id.Epoch, c.id.CID}
	first := c.e.conns[key]
	if first == c {
		if c.sibling == nil {
			delete(c.e.conns, key)
		} else {
			c.e.conns[key] = c.sibling
		}
		return
	}
	for s := first; s != nil; s = s.sibling {
		if s.sibling == c {
			s.sibling = c.sibling
			return
		}
	}
}

// next returns the serial of the next packet, which is never 0 (section 1.1).
func (c *conn) next() wire.Serial {
	c.serial++
	if c.serial == 0 {
		c.serial = 1
	}
	return c.serial
}

// header is what all packets of the connection begin with.
func (c *conn) header(t wire.PacketType) wire.Header {
	h := wire.Header{Epoch: c.id.Epoch, CID: c.id.CID, Type: t, Security: c.index, Service: c.service}
	if c.client {
		h.Flags = wire.ClientInitiated
	}
	return h
}

// numbers returns the last call number of each channel.
func (c *conn) numbers() (n [wire.Channels]wire.CallNumber) {
	for i := range c.channels {
		n[i] = c.channels[i].number
	}
	return n
}

// leave takes a call that has ended off its channel.
func (c *conn) leave(now Time, call *Call) {
	ch := &c.channels[call.channel]
	if ch.call != call {
		return
	}
	ch.call = nil
	c.active &^= 1 << call.channel
	if c.client {
		c.bundle.left(now, c, call)
	}
	if c.active == 0 && c.peerNode.on {
		c.rest(now)
	}
}

// occupy puts a call on a channel.
func (c *conn) occupy(call *Call, channel int) {
	c.wake()
	c.channels[channel].call = call
	c.active |= 1 << channel
	call.conn, call.channel = c, uint8(channel)
}

// fail ends all calls of the connection, which is not used again.
func (c *conn) fail(now Time, r Result) {
	c.state, c.noReuse = connAborted, true
	for i := range c.channels {
		if call := c.channels[i].call; call != nil {
			call.complete(now, r)
		}
	}
}

// abortAll ends all calls and tells the peer, by an ABORT of the connection.
func (c *conn) abortAll(now Time, code wire.AbortCode, errno syscall.Errno, why string, err error) {
	if c.state == connAborted {
		return
	}
	c.code, c.abort = code, true
	c.e.connsToSend.add(c)
	c.fail(now, Result{Completion: LocallyAborted, Code: code, Errno: errno, Why: why, Err: err})
}

// expire sends final ACKs that are due.
func (c *conn) expire(now Time) {
	when := never
	for i := range c.channels {
		ch := &c.channels[i]
		if ch.finalAt <= now {
			ch.finalAt, ch.due = never, true
			ch.reason, ch.answers = wire.AckIdle, 0
			c.e.connsToSend.add(c)
		}
		when = min(when, ch.finalAt)
	}
	c.e.timers.arm(&c.timer, when)
}
