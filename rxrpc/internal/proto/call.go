package proto

import (
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// CallParams is what a client call is made with.
type CallParams struct {
	Peer     netip.AddrPort
	Service  wire.ServiceID
	Security ClientSecurity // nil: none
	// Upgrade asks the server for a better service in place of Service (once per
	// connection, so the call runs on a new one). Call.Service says what came of it.
	Upgrade bool
	// Exclusive has a connection of its own, used once.
	Exclusive bool
	Timeouts  Timeouts
	// TxLength is how many bytes will be sent, if HasTxLength; Send keeps to it.
	TxLength    int64
	HasTxLength bool
	// Group sets calls apart: those of another share no connections with them.
	Group uint64
	Tag   any
}

// Timeouts of a call; 0 is the endpoint's Timers, negative is none.
type Timeouts struct {
	Hard   time.Duration // from NewCall (a client's) or Arrived (a service's) to the end
	Idle   time.Duration // Timers.RequestIdle
	Normal time.Duration // Timers.HeardNothing
}

// State is where a call is.
type State uint8

// States, with Linux's names. A client call goes from AwaitConn to RecvReply, a
// service call from RecvRequest to AwaitAck; both end in Complete.
const (
	Unused      State = iota
	AwaitConn         // all channels are taken
	SendRequest       // until the last packet of the request has been sent
	AwaitReply        // until the first of the reply arrives
	RecvReply         // until the last has
	RecvRequest       // until the last packet of the request has arrived
	AckRequest        // the application works on it
	SendReply         // until the last packet of the reply has been sent
	AwaitAck          // until it has been acknowledged
	Complete          // Result says how
)

// A Call is a call, of a client or a service. It belongs to the endpoint; the application
// has it from NewCall or its Arrived event until Release.
type Call struct {
	// Tag is the application's.
	Tag any

	e      *Endpoint
	conn   *conn // nil while it waits for a channel, and after its end
	peer   *peer
	bundle *bundle  // of a client's
	svc    *Service // of a service's
	id     PacketID // Seq unused
	connID ConnID
	info   SecurityInfo // kept after the end

	service  wire.ServiceID
	number   wire.CallNumber
	channel  uint8
	client   bool
	state    State
	exposed  bool // a packet of it was sent: the call number is used up
	waits    bool // of a service with AcceptManual: for Accept or Reject
	released bool // the application does not know of it any more
	news     What
	result   Result

	eventNode, sendNode, waitNode, svcNode node[Call]

	tx  sendQueue
	snd cc.Sender
	rx  receiveQueue
	ack ackState

	timer   timer
	times   Timeouts
	hardAt  Time // never: no such limit
	heardAt Time // last packet received, or when the call was exposed
	reqAt   Time // last packet of the request
	sentAt  Time // last packet sent
	pingAt  Time // when to ask whether a reply was lost
	pingGap time.Duration
	highest wire.Serial // of what was received
	ping    bool        // a PING is to be sent
	ackSeen bool        // with a window
	known   wire.Serial // sent last when the newest hard ack came
	burst   int         // datagrams sent in this turn
}

// Tagged returns Tag.
func (c *Call) Tagged() any { return c.Tag }

// SetTag sets Tag.
func (c *Call) SetTag(tag any) { c.Tag = tag }

// Service returns the service that the call is of, after an upgrade the new one.
func (c *Call) Service() wire.ServiceID { return c.service }

// Peer returns the address of the other side.
func (c *Call) Peer() netip.AddrPort { return c.peer.addr }

// State returns where the call is.
func (c *Call) State() State { return c.state }

// Result returns how the call ended; its Completion is Running until then.
func (c *Call) Result() Result { return c.result }

// Client returns whether this side made the call.
func (c *Call) Client() bool { return c.client }

// ID returns the connection with the channel, and the call number; zeros while the
// call waits for a channel.
func (c *Call) ID() (wire.Epoch, wire.CID, wire.CallNumber) {
	return c.connID.Epoch, c.connID.CID | wire.CID(c.channel), c.number
}

// Security returns what is known of the connection's security.
func (c *Call) Security() SecurityInfo {
	if c.conn != nil && c.conn.sec != nil {
		return c.conn.sec.Describe()
	}
	return c.info
}

// RTT returns the smoothed round-trip time to the peer, 0 if none was measured.
func (c *Call) RTT() time.Duration { return time.Duration(c.peer.path.Smoothed()) }

// newCall takes a call from the free list.
func (e *Endpoint) newCall(now Time, p *peer, client bool) *Call {
	c := e.freeCalls
	if c != nil {
		e.freeCalls, c.waitNode.next = c.waitNode.next, nil
		e.stats.FreeCalls--
	} else {
		c = &Call{e: e}
		c.timer.owner = c
	}
	c.peer, c.client = p, client
	c.id = PacketID{}
	c.hardAt, c.heardAt, c.reqAt, c.sentAt, c.pingAt = never, now, now, now, never
	c.tx.reset()
	c.rx.reset(e.cfg.Windows.Receive)
	c.snd.Reset(&p.path, cc.Time(now))
	c.ack = ackState{at: never}
	c.number, c.highest, c.known, c.pingGap, c.ackSeen = 0, 0, 0, 0, false
	e.stats.LiveCalls++
	return c
}

// recycle puts it back. Everything that is not made new by newCall must be zero.
func (c *Call) recycle() {
	e := c.e
	e.events.remove(c)
	c.rx.drop(e)
	c.Tag, c.peer, c.bundle, c.svc = nil, nil, nil, nil
	c.connID, c.info, c.result = ConnID{}, SecurityInfo{}, Result{}
	c.service, c.state, c.news = 0, Unused, 0
	c.exposed, c.waits, c.released, c.ping, c.ackSeen = false, false, false, false, false
	c.times = Timeouts{}
	e.stats.LiveCalls--
	if e.stats.FreeCalls >= maxFreeCalls {
		return
	}
	e.stats.FreeCalls++
	c.waitNode.next, e.freeCalls = e.freeCalls, c
}

// maxFreeCalls is how many calls are kept for others.
const maxFreeCalls = 512

// Timeouts of the call, or the endpoint's; 0 is none.
func (c *Call) normal() time.Duration {
	return timeout(c.times.Normal, c.e.cfg.Timers.HeardNothing)
}
func (c *Call) idle() time.Duration { return timeout(c.times.Idle, c.e.cfg.Timers.RequestIdle) }

func timeout(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		d = otherwise
	}
	return max(d, 0)
}

// SetTimeouts changes the time-outs of a call; Hard counts from now.
func (c *Call) SetTimeouts(now Time, t Timeouts) {
	if c.state == Complete {
		return
	}
	c.times = t
	c.hardAt = never
	if t.Hard > 0 {
		c.hardAt = now.Add(t.Hard)
	}
	c.rearm(now)
}

// connected tells a client call its channel.
func (c *Call) connected(now Time) {
	cn := c.conn
	c.id = PacketID{Call: c.number, Channel: int(c.channel), ToServer: true}
	c.connID = cn.id
	c.state = SendRequest
	c.heardAt, c.sentAt = now, now
	if err := c.seal(); err != nil {
		c.complete(now, securityFailed(err))
		return
	}
	c.e.callsToSend.add(c)
	if c.tx.short {
		c.tell(Writable)
	}
}

// expose uses the call number up: the first packet is being sent.
func (c *Call) expose(now Time) {
	c.exposed = true
	ch := &c.conn.channels[c.channel]
	ch.number = c.number
	ch.end, ch.due, ch.finalAt = endNothing, false, never // the next call acknowledges the last
	c.heardAt = now
	c.tell(Connected)
}

// repath makes another peer the call's: its client has another address now. What the call
// knows of the old path it keeps.
func (c *Call) repath(p *peer) {
	c.peer = p
	c.connID.Peer = p.addr
}
