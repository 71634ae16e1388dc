package natsbridge

import (
	"log/slog"
	"math"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// hub is what the core asks of the broker it stands in: broker.SiteLoop, or a model of it in tests. The core
// calls it outside of its own methods that the hub calls.
type hub interface {
	Input(port uint32, cred connector.Cred, name string, frame []byte) error
	Remove(port uint32)
	Deliver(host, port uint32, frame []byte) error
	Group(port uint32, cred connector.Cred, frame []byte) error
	GroupLost(group uint32, n uint64, unknown bool)
	RemoteInterest(group uint32, hosts []uint32)
	MembersDone(group uint32)
	IDAdded(info connector.IDInfo) error
	IDRemoved(id cbid.ID)
	IDUnknown(id cbid.ID, unknown bool)
	Granted(id cbid.ID, err *connector.Error, text string)
	Unregistered(id cbid.ID)
	State(id cbid.ID, state connector.SiteState, text string)
	Renewed()
	HostUp(host uint32, name string)
	HostDown(host uint32, why string)
	Credit(host, port uint32, n int)
	Located(group uint32, epoch, first, last uint64, another bool, err *connector.Error, text string)
	Stored(group uint32, s *broker.Stored)
	Fetched(group uint32, from, first uint64, msgs []broker.Stored)
	SetDurable(group uint32, want connector.History)
	Defined(group, tag uint32, err *connector.Error, text string)
}

// wire is what the core asks of the world outside: NATS, or a simulation. Nothing in it waits.
type wire interface {
	// Packet publishes b. If it returns true it has a copy; otherwise nobody may touch b again.
	Packet(to subject, b []byte) bool
	// Listen begins or ends the subscription to a group.
	Listen(group uint32, on bool)
	// Store does op, and has its then called on the core's goroutine, later.
	Store(op storeOp)
	// Stream does op on the stream of a durable group, and has its then called on the core's goroutine, later.
	Stream(op streamOp)
	// Follow has core.storedMsgs called with that reader for the messages of a durable group from seq on, in order, each
	// once, until there is another reader; 0 is none.
	Follow(group uint32, reader, seq uint64)
	// Soon has core.runLater called on the core's goroutine, when it has returned to its caller.
	Soon()
	// Wake has core.tick called at that time, if it is not called before.
	Wake(at int64)
}

// subject is where a packet goes to: everybody (beacons), a host's link, a group.
type subject struct {
	kind packetType
	num  uint32
}

// coreConfig says who the host is.
type coreConfig struct {
	host  uint16
	name  string
	run   uint64 // of the broker
	first uint64 // the first session of a link: none that another run has had
	lease int64  // ns

	cred  func(name string, cred connector.Cred) connector.Cred // what credentials of the host with that name mean here; nil: the same
	local func(group uint32) bool                               // groups that stay on their host; nil: none
	clock func() int64                                          // ns, never back
	log   *slog.Logger
}

// core is the bridge without its sockets, goroutines and clock: the broker's calls, payloads from other
// hosts, results of the store and times go in; payloads, requests to the store and calls of the
// hub come out. It has one user at a time, the broker's loop.
type core struct {
	coreConfig
	hub  hub
	wire wire
	now  int64

	connected bool
	peers     map[uint16]*peer
	session   uint64 // of the last link
	dirty     []*peer
	later     []func()

	lease lease
	own   map[uint64]*ownID
	site  map[uint64]*siteID // of other hosts
	// doubts are ids whose keys may be this host's though it has given them up.
	doubts map[uint64]struct{}
	// lost are ids of this host that another has now: who has them may not have been reachable when they were lost.
	lost map[uint64]lostID

	pubs     map[uint32]*publication
	pubDirty []*publication
	pubBegin uint64 // where new publications begin to count
	pubCount uint32 // and their numbering
	subs     map[uint32]*subscription
	changes  map[uint32]uint64              // of what Members said and the hub was not answered yet, by group
	interest map[uint32]map[uint16]struct{} // hosts with members, by group

	durables     map[uint32]*durable
	durableDirty []*durable
	durableKnown map[uint32]connector.History // groups that have a stream
	keptBytes    int                          // of messages that wait for the store
	numbered     uint64                       // messages of this run for durable groups
	readers      uint64
	listing      bool
	listAgain    bool
	listAt       int64

	spare packets

	barriers    map[uint64]*barrier
	lastBarrier uint64

	beaconAt int64
	wakeAt   int64 // when tick is called
	stats    coreStats
	refused  map[string]*refusal
}

// coreStats counts since the beginning.
type coreStats struct {
	Forwarded  uint64 `json:"forwarded"`   // messages of clients of this host for one on another
	Published  uint64 `json:"published"`   // group messages by publish
	Received   uint64 `json:"received"`    // messages of other hosts' clients
	GroupLost  uint64 `json:"group_lost"`  // group messages that did not arrive, told to members
	Failed     uint64 `json:"failed"`      // messages reported as failed because their host was given up
	Refused    uint64 `json:"refused"`     // payloads and records refused, see Refusals
	Late       uint64 `json:"late"`        // group messages that came after they had been told as lost, or again
	Stale      uint64 `json:"stale"`       // packets of earlier links
	Conflicts  uint64 `json:"conflicts"`   // ids that two hosts claimed at a time
	PacketsIn  uint64 `json:"packets_in"`  //
	PacketsOut uint64 `json:"packets_out"` //
	BytesIn    uint64 `json:"bytes_in"`    //
	BytesOut   uint64 `json:"bytes_out"`   //
}

// newCore makes a core, which needs a lease before anything else: leased.
func newCore(cfg coreConfig, h hub, w wire) *core {
	c := &core{
		coreConfig: cfg, hub: h, wire: w, session: cfg.first, connected: true,
		peers: make(map[uint16]*peer), own: make(map[uint64]*ownID), site: make(map[uint64]*siteID), doubts: make(map[uint64]struct{}),
		lost: make(map[uint64]lostID),
		pubs: make(map[uint32]*publication), pubBegin: 1, subs: make(map[uint32]*subscription),
		changes: make(map[uint32]uint64), interest: make(map[uint32]map[uint16]struct{}), barriers: make(map[uint64]*barrier),
		refused: make(map[string]*refusal), durables: make(map[uint32]*durable), durableKnown: make(map[uint32]connector.History),
	}
	c.now = c.clock()
	c.wakeAt, c.listAt = math.MaxInt64, c.now
	return c
}

func (c *core) header(kind packetType) packetHeader {
	return packetHeader{kind: kind, host: c.host, run: c.run}
}

// packet returns whether b can be used again.
func (c *core) packet(to subject, b []byte) bool {
	c.stats.PacketsOut++
	c.stats.BytesOut += uint64(len(b))
	return c.wire.Packet(to, b)
}

// soon has f run when the caller, the hub, is done.
func (c *core) soon(f func()) {
	if len(c.later) == 0 {
		c.wire.Soon()
	}
	c.later = append(c.later, f)
}

// run does what was put off.
func (c *core) runLater() {
	c.now = c.clock()
	for len(c.later) > 0 {
		f := c.later[0]
		c.later = c.later[1:]
		f()
	}
	c.later = nil
	c.Flush()
}

func (c *core) touch(p *peer) {
	if !p.dirty {
		p.dirty = true
		c.dirty = append(c.dirty, p)
	}
}

// Flush sends what was recorded since the last one. The hub calls it at the end of a turn.
func (c *core) Flush() {
	c.now = c.clock()
	c.flushPublications()
	c.flushDurables()
	c.flushLinks()
}

func (c *core) flushPublications() {
	for _, p := range c.pubDirty {
		c.sendPublication(p)
	}
	c.pubDirty = c.pubDirty[:0]
}

func (c *core) flushLinks() {
	for _, p := range c.dirty {
		p.dirty = false
		if !p.gone {
			c.flushPeer(p)
		}
	}
	clear(c.dirty)
	c.dirty = c.dirty[:0]
}

// wake sees to it that tick is called at that time at the latest.
func (c *core) wake(at int64) {
	if at < c.wakeAt {
		c.wakeAt = at
		c.wire.Wake(at)
	}
}

// tick does what is due. It is called once in the beginning, and then when Wake has asked for it.
func (c *core) tick() {
	c.now = c.clock()
	c.wakeAt = math.MaxInt64
	c.leaseTick()
	if c.beaconAt <= c.now {
		c.beacon(false)
		c.beaconAt = c.now + c.leaseTime()/renewals
	}
	next := min(c.beaconAt, c.lease.next())
	for _, p := range c.peersInOrder() {
		if at := c.peerTick(p); at != 0 {
			next = min(next, at)
		}
	}
	for tag, b := range c.barriers {
		if b.due <= c.now {
			delete(c.barriers, tag)
			b.done()
		} else {
			next = min(next, b.due)
		}
	}
	if at := c.durableTick(); at != 0 {
		next = min(next, at)
	}
	c.Flush()
	c.wake(next)
}

func (c *core) leaseTime() int64 { return c.coreConfig.lease }

// setConnected says whether there is a connection to NATS.
func (c *core) setConnected(yes bool) {
	c.now = c.clock()
	c.connected = yes
	c.lease.verify = true
	for _, p := range c.peersInOrder() {
		if !yes {
			c.setReachable(p)
		}
	}
	if yes {
		c.beaconAt, c.lease.renewAt = c.now, c.now
		c.wake(c.now)
		c.durableConnected()
		c.Flush()
	}
}

// beacon says that the host is there, and what its last group messages were.
func (c *core) beacon(leaving bool) {
	c.flushPublications() // the tails count them
	h := c.header(packetBeacon)
	b := make([]byte, packetHeaderLen, 256)
	h.put(b)
	b = appendHello(b, c.name)
	if leaving {
		b = appendLease(b, false)
	}
	for g, p := range c.pubs {
		if p.tails > 0 && len(b) < fillPacket {
			p.tails--
			b = appendTail(b, g, p.count, p.next)
			c.forgetPublication(p)
		}
	}
	c.packet(subject{kind: packetBeacon}, b)
}

// close says good-bye to the other hosts.
func (c *core) close() {
	c.now = c.clock()
	c.failDurables(connector.ErrInterrupted, "the broker has left the site")
	c.Flush()
	c.beacon(true)
}

// leftovers are what is to be deleted in the store by a host that leaves: the keys of its ids, and then of its lease.
func (c *core) leftovers() (ops []storeOp) {
	for _, key := range sortedKeys(c.own) {
		if o := c.own[key]; o.rev != 0 {
			ops = append(ops, storeOp{kind: storeDelete, bucket: bucketIDs, key: idKey(o.info.ID), rev: o.rev})
		}
	}
	if c.lease.rev != 0 {
		ops = append(ops, storeOp{kind: storeDelete, bucket: bucketHosts, key: leaseKey(c.host), rev: c.lease.rev})
	}
	return ops
}

// barrier waits until every host that can be reached has taken what was recorded for it.
type barrier struct {
	left int
	due  int64
	done func()
}

// barrierTime is how long a barrier waits for hosts that do not answer.
const barrierTime = int64(1e9)

// announce appends a record for every host, and calls done when those that can be reached have taken it.
func (c *core) announce(record func(b []byte) []byte, done func()) {
	c.now = c.clock()
	c.lastBarrier++
	b := &barrier{due: c.now + barrierTime, done: done}
	for _, p := range c.peersInOrder() {
		c.record(p, record)
		if done != nil && p.reachable {
			b.left++
			p.link.barrier(c.lastBarrier)
		}
	}
	switch {
	case done == nil:
	case b.left == 0:
		c.soon(done)
	default:
		c.barriers[c.lastBarrier] = b
		c.wake(b.due)
	}
}

func (c *core) barrierDone(tag uint64) {
	b := c.barriers[tag]
	if b == nil {
		return
	}
	if b.left--; b.left == 0 {
		delete(c.barriers, tag)
		c.soon(b.done)
	}
}
