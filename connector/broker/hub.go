package broker

import (
	"log/slog"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/tsocket"
)

// hub is the broker without its sockets: bytes of clients and times go in,
// bytes for clients come out. The loop owns it; nothing in it waits, and only the gate is shared.
type hub struct {
	log   *slog.Logger
	pool  bufPool
	now   int64 // Unix ns, set by the loop once a turn
	self  connector.Cred
	tune  tuning
	rules *Policy
	gate  *gate // the same rules, for other goroutines
	known knownRights

	instance  uint64 // this run; the epoch of histories kept in memory
	nextPort  uint32
	conns     map[uint32]*conn
	ids       map[uint64]*reg
	byIdx     map[uint32][]*reg
	groups    map[uint32]*group
	accounts  map[uint32]*account
	monitors  []*conn
	tapped    bool   // the Send at work was copied to them
	histories uint64 // made in this run
	histDir   string // where histories are stored; "" keeps them in memory

	notify *connector.Notify
	watch  *connector.WatchTable
	// Who reads the watch of that number.
	watchers  map[uint64]*watcher
	nextWatch uint64

	site      *site         // nil unless joined to other hosts
	willJoin  bool          // registrations for all hosts wait for that
	early     []early       // which do
	earlyJoin []earlyJoin   // Joins that go on where they were, in what may be a history of the site's
	earlyDef  []earlyDefine // and histories

	greeting int // clients that have not said Hello

	dirty   []*conn // have bytes that the loop is to write
	resumed []*conn // were paused; their kept input is to be handled
	leaving []*conn // were said Bye; the loop sees to it that they end

	stats    Stats
	warnings warnings

	more bool // frames of the same client follow the one that is handled
}

// tuning are the hub's sizes, in one place so that tests can make them small.
type tuning struct {
	queue   int   // bytes: a client with more waiting is full
	replies int   // bytes: replies beyond are dropped, and who has as many answers waiting is not read
	share   int   // bytes: the same where all clients of the uid have too much waiting
	window  int   // bytes of one client that may be under way to one host
	overrun int   // bytes one sender may still send after Stop
	waits   int   // answers that a client may be waiting for because other hosts are asked first; it is not read beyond
	hello   int64 // ns a client may take to say Hello
	bye     int64 // ns a client may take to read its Bye
}

func defaultTuning() tuning {
	return tuning{queue: 1 << 20, replies: 4 << 20, share: 64 << 10, window: 1 << 20, overrun: 1 << 20, waits: 1024, hello: 10e9, bye: 5e9}
}

// reg is a registered id.
type reg struct {
	id        cbid.ID
	name      string
	owner     *conn // of another host's id: no client, but says who
	far       bool  // the id of another host
	wide      bool  // registered for all hosts
	alone     bool  // for this one, because another has it, or will not know it
	takeover  bool  // what was asked for
	suspended bool  // to be for all hosts, and for this one until the site can be asked
	lapsed    bool  // wide, and the host has lost touch with the others
	unknown   bool  // the other host cannot be reached
	since     int64 // Unix ns
	dead      bool  // removed; routes to it are stale
	held      bool  // the owner asked to keep messages back
	callers   callers
	inline    *inline  // the callback runs in this process, on the loop
	count     uint64   // messages for the callback
	stops     []stop   // senders that were told Stop because of held
	overruns  overruns // likewise
}

// conn is one client.
type conn struct {
	port   uint32
	sock   *tsocket.Stream // these are the loop's; sock is nil with local
	local  *local
	watch  *tsocket.Watch
	wants  tsocket.Ready
	cred   connector.Cred
	gids   []uint32 // supplementary groups
	name   string
	remote string // of a client over TLS: where it is, and its certificate's subject
	since  int64
	acct   *account
	rights *rights
	hello  bool
	closed bool

	in     []byte // read but not handled: part of a frame, or all while paused
	paused bool   // not read: it sent on after Stop, or is choked
	choked bool   // it asks and does not read the answers
	out    outq
	dirty  bool
	proxy  bool  // a client of another host; sock is nil
	mute   bool  // room to write is awaited
	last   bool  // close once out is empty
	leave  int64 // and then at the latest

	acks      []pendingAck // FIFO by mark
	regs      map[uint64]*reg
	members   map[uint32]*member
	watches   map[uint32]*watcher  // by the client's tag
	follows   map[uint64]*follow   // of other ports, by the client's number
	followers map[*follow]struct{} // of this port
	callers   callers              // who called this port
	congested bool                 // group messages are dropped until half of the queue is gone
	held      bool                 // the client asked to keep messages to its port back
	lost      []lostCount          // not told yet
	lagging   []*member            // get their messages from a history
	interests map[uint32]struct{}  // groups whose interest is to be told later
	stops     []stop               // senders that were told Stop because of this client
	stopped   map[stopKey]*stopped
	overruns  overruns
	monitor   bool

	inlines map[uint64]*inline // of this process's Bus: callbacks that run on the loop

	// Towards other hosts, while the broker is joined to any.
	waits    int                   // answers that come when other hosts have been asked
	abroad   bool                  // a frame was forwarded
	far      map[uint32]*far       // by host
	called   map[uint32]struct{}   // ports there that were called and are not gone
	farAcks  map[ackKey]pendingAck // awaited from hosts
	farStops map[farKey]*[]stop    // what hosts told this client not to send to

	// The last id sent to, with its registration unless that is dead, and the last
	// port's client.
	routeKey uint64
	route    *reg
	peer     *conn
	stat     ConnStats
}

// newHub makes a hub whose own messages carry self.
func newHub(log *slog.Logger, rules *Policy, self connector.Cred, instance uint64, now int64) *hub {
	h := &hub{
		log: log, rules: rules, self: self, instance: instance, now: now, tune: defaultTuning(),
		conns: make(map[uint32]*conn), ids: make(map[uint64]*reg), byIdx: make(map[uint32][]*reg),
		groups: make(map[uint32]*group), accounts: make(map[uint32]*account),
		watchers: make(map[uint64]*watcher),
	}
	h.gate = newGate(log, rules)
	h.initControl()
	h.applyHistories()
	return h
}

// account returns the account of uid.
func (h *hub) account(uid uint32) *account {
	a := h.accounts[uid]
	if a == nil {
		a = &account{uid: uid, limits: h.rules.limitsOf(uid)}
		h.accounts[uid] = a
	}
	return a
}

// open admits a client. A refusal is put into its queue as a Bye.
func (h *hub) open(cred connector.Cred, gids []uint32) *conn {
	c := &conn{cred: cred, since: h.now}
	c.gids, c.rights = h.known.of(h.rules, who{cred: cred, gids: gids})
	c.port = h.newPort()
	h.conns[c.port] = c
	h.gate.enter(cred, c.gids)
	h.stats.Accepted++
	h.greeting++
	c.acct = h.account(cred.UID)
	c.acct.conns++
	if !c.rights.connect {
		h.stats.Refused++
		h.bye(c, connector.ErrPermission, "uid %d may not connect to this broker", cred.UID)
		return c
	}
	if len(h.conns) > connector.MaxLocalPort/2 {
		h.stats.Refused++
		h.bye(c, connector.ErrLimit, "%d clients are connected", len(h.conns))
		return c
	}
	if l := c.acct.limits.Connections; l >= 0 && c.acct.conns > l {
		h.stats.Refused++
		h.bye(c, connector.ErrLimit, "%s", c.acct.exceed("connections", int64(l)))
	}
	return c
}

// newPort returns a port id that no client has. There are twice as many as clients may be, so that one that was given up
// is not soon another's.
func (h *hub) newPort() uint32 {
	for {
		h.nextPort = (h.nextPort + 1) & connector.MaxLocalPort
		if h.nextPort == 0 || h.own(h.nextPort) != nil {
			continue
		}
		if h.site != nil {
			return connector.SitePort(h.site.host, h.nextPort)
		}
		return h.nextPort
	}
}

// bye says why a client's connection ends; it ends when that is written.
func (h *hub) bye(c *conn, why *connector.Error, format string, args ...any) {
	if c.last || c.closed {
		return
	}
	text := sprintf(format, args...)
	if why != connector.ErrShutdown {
		h.warn(c, "client refused", text)
	}
	h.control(c, frame.Header{Type: frame.Bye, Code: why.Code()}, []byte(text)...)
	c.last = true
	c.leave = h.now + h.tune.bye
	c.in = nil
	h.leaving = append(h.leaving, c)
}

// close forgets a client: its ids, memberships, watches, requests.
func (h *hub) close(c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(h.conns, c.port)
	h.gate.leave(c.cred)
	if !c.hello {
		h.greeting--
	}
	for _, r := range c.regs {
		h.unregister(r)
	}
	h.dropEarly(c)
	for _, m := range c.members {
		h.leave(m)
	}
	for _, w := range c.watches {
		h.unwatch(w)
	}
	for _, f := range c.follows {
		h.unfollow(f)
	}
	for f := range c.followers {
		h.portGone(f)
	}
	c.acct.watches -= h.notify.DropOwner(uint64(c.port))
	h.goneTo(&c.callers, c.port, nil)
	h.releaseStops(&c.stops)
	for _, a := range c.acks {
		h.acked(a, connector.ErrNoPort)
	}
	c.acks = nil
	if h.site != nil {
		h.site.closed(c)
	}
	h.dropStops(c)
	if c.monitor {
		h.dropMonitor(c)
	}
	for _, l := range c.lost {
		h.stats.LostUntold += l.n
	}
	c.acct.queued -= int64(c.out.len())
	h.pool.put(c.out.buf)
	c.out = outq{}
	c.route, c.peer = nil, nil
	c.in, c.regs, c.members, c.watches, c.lagging = nil, nil, nil, nil, nil
	c.follows, c.followers = nil, nil
	c.acct.conns--
	h.forget(c.acct)
	h.stats.Sent += c.stat.Sent
	h.stats.Closed++
}

// forget drops an account that holds nothing.
func (h *hub) forget(a *account) {
	if a.conns == 0 && a.proxies == 0 && a.regs == 0 && a.history == 0 && len(a.exceeded) == 0 {
		delete(h.accounts, a.uid)
	}
}

// touch queues c for writing.
func (h *hub) touch(c *conn) {
	if !c.dirty && !c.mute {
		c.dirty = true
		h.dirty = append(h.dirty, c)
	}
}

// append puts a frame of n bytes into c's queue and returns its memory.
func (h *hub) append(c *conn, n int) []byte {
	h.touch(c)
	c.acct.queued += int64(n)
	return c.out.extend(&h.pool, n)
}

// control queues a frame that is not subject to limits: answers and notices,
// of which there are as many as the client asked for.
func (h *hub) control(c *conn, hd frame.Header, body ...byte) {
	if c.closed || c.last {
		return
	}
	if len(c.lost) > 0 && hd.Type != frame.Lost {
		h.tellLost(c)
	}
	hd.Len = uint32(frame.HeaderLen + len(body))
	b := h.append(c, int(hd.Len))
	hd.Put(b)
	copy(b[frame.HeaderLen:], body)
}

// answer acknowledges the request tag.
func (h *hub) answer(c *conn, tag uint32, err *connector.Error, text string) {
	hd := frame.Header{Type: frame.Ack, Tag: tag}
	if err == nil {
		h.control(c, hd)
		return
	}
	if text == "" {
		text = err.Error()
	}
	hd.Code = err.Code()
	h.control(c, hd, []byte(text)...)
}
