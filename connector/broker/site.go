package broker

import (
	"maps"
	"slices"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// site is what the hub knows of other hosts, while it is joined to them.
//
// A client of another host that sends something here has a proxy: a conn without a socket, whose port and
// credentials are that client's. Everything else in the hub treats it as it does any client, but that
// its frames never leave the host again, and what is queued for it, which is never a message, goes
// to the bridge.
type site struct {
	h    *hub
	host uint32
	up   Uplink
	wide func(cbid.ID) bool
	busy bool // up was called in this turn
	// Something is registered for this host alone only because the site could not be asked.
	narrow bool

	proxies map[uint32]*conn    // by port
	ids     map[uint64]*reg     // of other hosts
	claims  map[uint64]*claim   // not granted yet
	listen  map[uint32][]uint32 // hosts with members, by group
	joins   map[uint32][]held   // Join and Leave that wait for MembersDone, by group
	dels    map[uint64][]held   // Del that wait for Unregistered, by id

	durable map[uint32]connector.History // groups of which the store is known to have a history
	defs    map[uint32][]held            // History that waits for Defined

	reach   map[uint32]struct{} // hosts that are up
	names   map[uint32]string   // their names
	nextTag uint32
	nextDef uint32

	local func(uint32) bool // groups that stay here; nil: none
}

// ackKey is an acknowledgement that is awaited from a host.
type ackKey struct{ host, tag uint32 }

// held is a request that is answered later.
type held struct {
	c   *conn
	tag uint32

	// Of a Join:
	m          *member
	at         bool
	epoch, pos uint64

	define uint32 // of a History: the tag that Defined has
}

// far is what a client has under way to one host.
type far struct {
	out   int               // bytes that were not consumed yet
	lost  map[uint32]uint64 // dropped for want of room and not told yet, by the receiver's port
	stops []stop            // told for want of room
}

func (h *hub) join(cfg *JoinConfig) *site {
	s := &site{
		h: h, host: cfg.Host, up: cfg.Uplink, wide: cfg.SiteWide, local: cfg.Local,
		proxies: make(map[uint32]*conn), ids: make(map[uint64]*reg), claims: make(map[uint64]*claim),
		listen: make(map[uint32][]uint32), joins: make(map[uint32][]held), dels: make(map[uint64][]held),
		reach: make(map[uint32]struct{}), names: make(map[uint32]string), durable: maps.Clone(cfg.Durable), defs: make(map[uint32][]held),
	}
	if s.durable == nil {
		s.durable = make(map[uint32]connector.History)
	}
	if s.local != nil {
		maps.DeleteFunc(s.durable, func(num uint32, _ connector.History) bool { return s.local(num) })
	}
	for num, want := range s.durable {
		if g := h.groups[num]; g != nil {
			h.makeDurable(g, want) // before anybody is told of its members
		}
	}
	h.site = s
	h.gate.join(cfg.Host)
	h.keepHome()
	for num, g := range h.groups {
		switch {
		case g.durable() != nil:
			h.locate(g)
		case len(g.members) > 0:
			s.members(num, true)
		}
	}
	s.widenAll()
	waited := h.early
	h.early = nil
	for _, e := range waited {
		e.c.acct.regs--
		h.add(e.c, &e.hd, e.id, e.name)
	}
	joins := h.earlyJoin
	h.earlyJoin = nil
	for _, e := range joins {
		_ = h.handleJoin(e.c, &e.hd, frame.AppendU64s(nil, e.epoch)) // its body was looked at
	}
	defs := h.earlyDef
	h.earlyDef = nil
	for _, e := range defs {
		if !e.c.closed {
			h.define(e.c, &e.hd, e.want)
		}
	}
	return s
}

// leave ends the stay: nothing of other hosts is left, and nobody waits for them.
func (s *site) leave() {
	for host := range s.hosts() {
		s.down(host, "the broker has left the site")
	}
	for _, r := range slices.Collect(maps.Values(s.ids)) {
		s.removeID(r.id)
	}
	for num := range s.joins {
		s.membersDone(num)
	}
	s.leaveDurable("the broker has left the site")
	for key := range s.dels {
		s.unregistered(cbid.FromKey(key))
	}
	for _, cl := range s.claims {
		s.granted(cl.r.id, connector.ErrInterrupted, "the broker has left the site")
	}
	for _, r := range s.h.ids {
		r.takeover = false // by the time of another stay it may be another host's for good reason
		if r.wide || r.suspended {
			r.wide, r.suspended, r.lapsed = false, false, false
			s.h.tellSite(r, connector.SiteLost, "the broker has left the site")
		}
	}
	listen := s.listen
	s.listen = nil
	s.h.site, s.h.willJoin = nil, false
	for num := range listen {
		s.h.interest(num)
	}
}

// follow has another host tell when its port is gone, and answers when it says that it will.
func (s *site) follow(host uint32, f *follow, tag uint32) {
	hd := frame.Header{Type: frame.Follow, Port: f.port, Pos: f.num}
	f.c.waits++
	s.farOf(f.c, host).out += frame.HeaderLen // like what is sent, it counts until it was handled
	s.transmit(f.c, host, &hd, hd.Append(nil))
	s.awaitAck(host, pendingAck{c: f.c, tag: tag, follow: f})
}

func (s *site) unfollow(f *follow) {
	if host := s.reaches(f.port); host != 0 {
		hd := frame.Header{Type: frame.Unfollow, Pos: f.num}
		s.farOf(f.c, host).out += frame.HeaderLen
		s.transmit(f.c, host, &hd, hd.Append(nil))
	}
}

// hosts are those that anything here is of.
func (s *site) hosts() map[uint32]struct{} {
	all := maps.Clone(s.reach)
	for port := range s.proxies {
		all[connector.HostOf(port)] = struct{}{}
	}
	for _, c := range s.h.conns {
		for k := range c.farAcks {
			all[k.host] = struct{}{}
		}
		for host := range c.far {
			all[host] = struct{}{}
		}
		for port := range c.called {
			all[connector.HostOf(port)] = struct{}{}
		}
		for _, f := range c.follows {
			if f.d == nil {
				all[connector.HostOf(f.port)] = struct{}{}
			}
		}
		for k := range c.farStops {
			all[k.host] = struct{}{}
		}
	}
	return all
}

// flush ends a turn.
func (s *site) flush() {
	if s.busy {
		s.busy = false
		s.up.Flush()
	}
}

// HostUp says that frames can be forwarded to a host, until HostDown. The policy may have rules for its name.
func (l *SiteLoop) HostUp(host uint32, name string) {
	l.s.reach[host] = struct{}{}
	l.s.names[host] = name
	l.s.h.gate.hostUp(host, name)
}

// reaches returns the other host that port belongs to, 0 if there is none.
func (s *site) reaches(port uint32) uint32 {
	host, yes := s.outside(port)
	if _, up := s.reach[host]; !yes || !up {
		return 0
	}
	return host
}

// outside returns the host that port belongs to, and true, if that is another one than this.
func (s *site) outside(port uint32) (host uint32, yes bool) {
	host = connector.HostOf(port)
	return host, host != 0 && host != s.host
}

// own is the client of this host with that port, in whichever form it is written.
func (h *hub) own(port uint32) *conn {
	if c := h.conns[port]; c != nil || h.site == nil {
		return c
	}
	switch connector.HostOf(port) {
	case 0:
		return h.conns[connector.SitePort(h.site.host, port)]
	case h.site.host:
		return h.conns[connector.LocalPort(port)]
	}
	return nil
}

// anyone is the client with that port, here or, as far as it is known here, elsewhere.
func (h *hub) anyone(port uint32) *conn {
	if c := h.conns[port]; c != nil || h.site == nil {
		return c
	}
	return h.site.proxies[port]
}

// sitePort is c's port on other hosts.
func (s *site) sitePort(c *conn) uint32 { return connector.SitePort(s.host, c.port) }

// forward sends the frame fr of c to a host. It returns false when c must wait: more of it
// is under way than may be.
func (s *site) forward(c *conn, host uint32, key stopKey, hd *frame.Header, fr []byte) (*connector.Error, bool) {
	h := s.h
	f := s.farOf(c, host)
	switch n := f.out + len(fr); {
	case hd.Flags&frame.FlagReply != 0:
		if n > h.tune.replies {
			s.lose(f, hd.Port)
			return connector.ErrWouldBlock, true
		}
	case n > h.tune.window && f.out > 0:
		if hd.Flags&frame.FlagDrop != 0 {
			s.lose(f, hd.Port)
			return connector.ErrWouldBlock, true
		}
		h.pause(c)
		return nil, false
	case n > h.tune.window/2 && key != (stopKey{}):
		h.stopFor(c, &f.stops, key)
	}
	s.tellFar(host, f) // before what comes after it
	f.out += len(fr)
	s.transmit(c, host, hd, fr)
	return nil, true
}

// farOf is what c has under way to a host.
func (s *site) farOf(c *conn, host uint32) *far {
	f := c.far[host]
	if f == nil {
		f = &far{}
		if c.far == nil {
			c.far = make(map[uint32]*far)
		}
		c.far[host] = f
	}
	return f
}

// tellFar tells receivers on a host what they lost for want of room.
func (s *site) tellFar(host uint32, f *far) {
	for port, n := range f.lost {
		s.answer(host, port, frame.Header{Type: frame.Lost, Pos: n})
	}
	f.lost = nil
}

// lose counts a message for a port of another host that there is no room for; 0 is for an id, whose
// agent is not told.
func (s *site) lose(f *far, port uint32) {
	s.h.stats.Lost++
	if port == 0 {
		return
	}
	if f.lost == nil {
		f.lost = make(map[uint32]uint64)
	}
	f.lost[port]++
}

// credit says that n bytes of c's frames have been handled by the host.
func (s *site) credit(c *conn, host uint32, n int) {
	h := s.h
	f := c.far[host]
	if f == nil {
		return
	}
	f.out = max(0, f.out-n)
	if f.out <= h.tune.window/2 && c.paused {
		h.resume(c)
	}
	if f.out > h.tune.window/4 {
		return
	}
	h.releaseStops(&f.stops)
	s.tellFar(host, f)
	if f.out == 0 {
		delete(c.far, host)
	}
}

// answer gives the bridge a frame without body for the client of another host.
func (s *site) answer(host, port uint32, hd frame.Header) {
	s.busy = true
	s.up.Answer(host, port, hd.Append(nil))
}

// transmit gives the frame to the bridge.
func (s *site) transmit(c *conn, host uint32, hd *frame.Header, fr []byte) {
	fwd := *hd
	fwd.Pos = c.stat.FramesIn
	fwd.Tag = 0
	if hd.Type == frame.Follow || hd.Type == frame.Send && hd.Flags&frame.FlagAck != 0 {
		for s.nextTag++; s.nextTag == 0 || c.farAcks[ackKey{host, s.nextTag}].c != nil; s.nextTag++ {
		}
		fwd.Tag = s.nextTag
	}
	if hd.Type != frame.Send {
		fwd.Pos = hd.Pos
	}
	fwd.UID, fwd.GID, fwd.PID = c.cred.UID, c.cred.GID, c.cred.PID
	fwd.Len = uint32(len(fr))
	fwd.Put(fr)
	s.busy = true
	if host == storeHost {
		want, _ := s.h.durableHistory(fwd.Group)
		s.up.Append(fwd.Group, want, s.sitePort(c), c.cred, fr)
		return
	}
	c.abroad = true
	s.up.Forward(host, s.sitePort(c), c.cred, fr)
}

// awaitAck makes the Ack of what transmit sent last count as one of a.
func (s *site) awaitAck(host uint32, a pendingAck) {
	if a.c.farAcks == nil {
		a.c.farAcks = make(map[ackKey]pendingAck)
	}
	a.c.farAcks[ackKey{host, s.nextTag}] = a
}

// sendPort is for a port of another host.
func (s *site) sendPort(c *conn, host uint32, hd *frame.Header, fr []byte) (*connector.Error, bool) {
	if !c.rights.unicast && hd.Flags&frame.FlagReply == 0 {
		return connector.ErrPermission, true
	}
	call := hd.Flags&frame.FlagCall != 0
	if call && len(c.called) >= maxCalled {
		if _, known := c.called[hd.Port]; !known {
			return connector.ErrLimit, true
		}
	}
	err, ok := s.forward(c, host, stopKey{port: hd.Port}, hd, fr)
	if err != nil || !ok {
		return err, ok
	}
	if call {
		if c.called == nil {
			c.called = make(map[uint32]struct{})
		}
		c.called[hd.Port] = struct{}{}
	}
	if hd.Flags&frame.FlagAck != 0 {
		s.awaitAck(host, pendingAck{c: c, tag: hd.Tag})
	}
	return nil, true
}

// maxCalled is how many ports of other hosts one client may have called that are not gone.
const maxCalled = 1 << 16

// sendID is for the registered id of another host.
func (s *site) sendID(c *conn, r *reg, hd *frame.Header, fr []byte) (*connector.Error, bool) {
	host := connector.HostOf(r.owner.port)
	err, ok := s.forward(c, host, stopKey{id: r.id, byID: true}, hd, fr)
	if err != nil || !ok {
		return err, ok
	}
	r.count++
	if hd.Flags&frame.FlagCall != 0 {
		r.callers.add(c.port, s.h)
	}
	if hd.Flags&frame.FlagAck != 0 {
		s.awaitAck(host, pendingAck{c: c, tag: hd.Tag})
	}
	return nil, true
}

// hears returns the hosts to which a message of c to the group has to go.
func (h *hub) hears(c *conn, num uint32) []uint32 {
	if h.site == nil || c.proxy {
		return nil
	}
	return h.site.listen[num]
}

// roomElsewhere reports whether a message of n bytes that is to be acknowledged, or waits, can go to the hosts now.
func (s *site) roomElsewhere(c *conn, hosts []uint32, n int) bool {
	for _, host := range hosts {
		if f := c.far[host]; f != nil && f.out > 0 && f.out+n > s.h.tune.window {
			s.h.pause(c)
			return false
		}
	}
	return true
}

// sendGroup sends fr to the hosts, and returns what their acknowledgements are counted in, nil if none is awaited.
func (s *site) sendGroup(c *conn, num uint32, hosts []uint32, as *frame.Header, fr []byte) *ackJoin {
	send := *as
	hd := &send
	hd.Group = num
	hd.Flags &^= frame.FlagAgent
	if hd.Flags&(frame.FlagAck|frame.FlagWait) == 0 {
		hd.Pos = c.stat.FramesIn
		hd.UID, hd.GID, hd.PID = c.cred.UID, c.cred.GID, c.cred.PID
		hd.Put(fr)
		s.busy = true
		s.up.Publish(num, s.sitePort(c), c.cred, fr)
		return nil
	}
	var join *ackJoin
	for _, host := range hosts {
		key := stopKey{}
		if hd.Flags&frame.FlagWait != 0 {
			key.group = num
		}
		s.forward(c, host, key, hd, fr) // there is room
		if hd.Flags&frame.FlagAck != 0 {
			if join == nil {
				join = &ackJoin{}
			}
			join.left++
			s.awaitAck(host, pendingAck{c: c, tag: hd.Tag, join: join, far: true})
		}
	}
	return join
}
