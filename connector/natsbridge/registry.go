package natsbridge

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// idState is how far a site-wide id of this host is.
type idState uint8

const (
	idClaiming  idState = iota + 1 // for the first time; nobody has been told
	idInForce                      //
	idSuspended                    // was in force; without a lease, or being looked at
	idLost                         // another host has it
)

// ownID is a site-wide id of this host.
type ownID struct {
	info      connector.IDInfo
	rev       uint64 // of its key
	state     idState
	takeover  bool
	announced bool                // the other hosts were told
	granted   bool                // and the hub
	asked     bool                // its present owner was asked whether it is
	ended     bool                // unregistered while the store was being asked
	claiming  bool                // the store is being asked,
	since     uint64              // in that time of the lease,
	stale     bool                // and what it says may be of before a change that it has made since
	before    string              // what its agent is to be told of who had it before
	told      connector.SiteState // last, 0: nothing since it was granted
}

// lostID is an id that was this host's.
type lostID struct {
	rev   uint64
	until int64 // when nobody needs to be told any more
}

// siteID is an id of another host.
type siteID struct {
	info connector.IDInfo
	host uint16
	rev  uint64
}

// claimRetries is how often a claim is begun anew because the key has changed under it.
const claimRetries = 8

// Register asks for an id for the whole site; the hub is told by Granted.
func (c *core) Register(info connector.IDInfo, takeover bool) {
	c.now = c.clock()
	o := &ownID{info: info, state: idClaiming, takeover: takeover}
	if old := c.own[info.ID.Key()]; old != nil {
		old.ended = true
		if old.rev != 0 { // its client is gone, and nobody has unregistered it
			c.doubts[info.ID.Key()] = struct{}{}
		}
	}
	c.own[info.ID.Key()] = o
	if cbid.OfHost(info.ID.Idx) && info.ID.Val != uint32(c.host) {
		c.soon(func() {
			c.refuseID(o, connector.ErrInvalid, fmt.Sprintf("the number of this host is %d: it would pass for the agents of another", c.host))
		})
		return
	}
	if !c.lease.inForce {
		c.soon(func() { c.refuseID(o, connector.ErrInterrupted, "this host has no contact to the site at present") })
		return
	}
	c.claim(o, claimRetries)
}

// Unregister gives an id up; the hub is told by Unregistered.
func (c *core) Unregister(id cbid.ID) {
	done := func() { c.hub.Unregistered(id) }
	o := c.own[id.Key()]
	if o == nil {
		c.soon(done)
		return
	}
	o.ended = true
	delete(c.own, id.Key())
	if o.rev != 0 && o.state != idLost {
		c.deleteID(id, o.rev)
	}
	if !o.announced {
		c.soon(done)
		return
	}
	c.announce(func(b []byte) []byte { return appendNoID(b, id, o.rev) }, done)
}

// deleteID deletes the key of an id that this host has given up, now or when the store can be asked.
func (c *core) deleteID(id cbid.ID, rev uint64) {
	c.store(storeDelete, bucketIDs, idKey(id), nil, rev, func(r storeResult) {
		// Another revision is another host's claim, or one of this host whose answer never came.
		if r.err != nil && !errors.Is(r.err, errStoreNotFound) {
			c.doubts[id.Key()] = struct{}{}
		}
	})
}

// settleDoubts looks at the keys of which it is not known whether this host has them still: the
// store could not be asked, or did not answer.
func (c *core) settleDoubts() {
	for _, key := range sortedKeys(c.doubts) {
		id := cbid.FromKey(key)
		c.store(storeGet, bucketIDs, idKey(id), nil, 0, func(r storeResult) {
			v, err := parseOwner(r.value)
			switch {
			case errors.Is(r.err, errStoreNotFound):
			case r.err != nil:
				return // again with the next lease
			case err == nil && v.host == c.host && v.run == c.run && c.own[key] == nil:
				// It may have been another host's before.
				rev := r.rev
				c.deleteID(id, rev)
				c.announce(func(b []byte) []byte { return appendNoID(b, id, rev) }, nil)
			}
			delete(c.doubts, key)
		})
	}
}

// claim asks the store for o. Whoever makes the key has the id (docs/hosts.md, "The store").
func (c *core) claim(o *ownID, tries int) {
	o.claiming, o.since, o.stale = true, c.lease.times, false
	if tries == 0 {
		c.refuseID(o, connector.ErrWouldBlock, "several hosts claim it at this moment")
		return
	}
	key := idKey(o.info.ID)
	value := idValue(c.host, c.run, &o.info)
	kind := storeCreate
	if o.state == idSuspended {
		kind = storeGet // it was ours
	}
	c.store(kind, bucketIDs, key, value, 0, func(r storeResult) {
		switch {
		case c.ended(o, r):
		case kind == storeGet && errors.Is(r.err, errStoreNotFound):
			c.store(storeCreate, bucketIDs, key, value, 0, func(r storeResult) {
				switch {
				case c.ended(o, r):
				case errors.Is(r.err, errStoreExists):
					c.claim(o, tries-1)
				default:
					c.claimed(o, r)
				}
			})
		case kind == storeGet && r.err == nil:
			c.contend(o, r, tries)
		case kind == storeCreate && errors.Is(r.err, errStoreExists):
			c.store(storeGet, bucketIDs, key, nil, 0, func(r storeResult) {
				switch {
				case c.ended(o, storeResult{err: r.err}):
				case errors.Is(r.err, errStoreNotFound):
					c.claim(o, tries-1)
				case r.err != nil:
					c.claimed(o, r)
				default:
					c.contend(o, r, tries)
				}
			})
		default:
			c.claimed(o, r)
		}
	})
}

// ended reports whether o was given up while the store was being asked; a key that was made for it goes.
func (c *core) ended(o *ownID, r storeResult) bool {
	switch {
	case !o.ended:
		return false
	case r.err == nil && r.rev != 0 && r.value == nil:
		c.deleteID(o.info.ID, r.rev)
	case r.err != nil && !errors.Is(r.err, errStoreExists) && !errors.Is(r.err, errStoreNotFound):
		c.doubts[o.info.ID.Key()] = struct{}{}
	}
	return true
}

// contend decides about a key that is there.
func (c *core) contend(o *ownID, r storeResult, tries int) {
	v, err := parseOwner(r.value)
	switch {
	case err == nil && v.host == c.host && v.run == c.run && o.state == idSuspended:
		c.claimed(o, storeResult{rev: r.rev})
	case err == nil && v.host == c.host, o.takeover && o.state == idClaiming:
		c.update(o, r.rev, tries)
	case err != nil:
		c.refuseID(o, connector.ErrProtocol, fmt.Sprintf("what the store has under %s is not of this version: %v", idKey(o.info.ID), err))
	default:
		c.store(storeGet, bucketHosts, leaseKey(v.host), nil, 0, func(h storeResult) {
			owner, err := parseNamed(h.value)
			switch {
			case c.ended(o, storeResult{err: errStoreNotFound}):
			case errors.Is(h.err, errStoreNotFound), h.err == nil && err == nil && owner.run != v.run:
				c.update(o, r.rev, tries) // its host is dead
			case h.err != nil:
				c.claimed(o, h)
			case c.askOwner(o, v.host, tries):
			default:
				c.refuseID(o, connector.ErrDuplicate, fmt.Sprintf("id %v is registered by host %s (number %d), port %d (%s, pid %d, uid %d there)",
					o.info.ID, owner.name, v.host, v.info.Port, v.info.Name, v.info.Owner.PID, v.info.Owner.UID))
			}
		})
	}
}

// askOwner finds out whether the host that has the key of o's id has given the id up: it says so over the link before it
// deletes the key. It returns false if there is nothing to ask.
func (c *core) askOwner(o *ownID, host uint16, tries int) bool {
	p := c.peers[host]
	if p == nil || !p.reachable || o.state != idClaiming {
		return false
	}
	key := o.info.ID.Key()
	if s := c.site[key]; s != nil && s.host == host {
		if o.asked {
			return false
		}
		o.asked = true
	}
	c.lastBarrier++
	c.barriers[c.lastBarrier] = &barrier{left: 1, due: c.now + barrierTime, done: func() {
		if !o.ended {
			c.claim(o, tries-1)
		}
	}}
	c.wake(c.now + barrierTime)
	c.record(p, func(b []byte) []byte { return appendPing(b, recordPing, uint64(c.now)) })
	p.link.barrier(c.lastBarrier)
	return true
}

func (c *core) update(o *ownID, rev uint64, tries int) {
	c.store(storeUpdate, bucketIDs, idKey(o.info.ID), idValue(c.host, c.run, &o.info), rev, func(r storeResult) {
		switch {
		case c.ended(o, r):
		case errors.Is(r.err, errStoreExists):
			c.claim(o, tries-1)
		default:
			c.claimed(o, r)
		}
	})
}

// claimed ends a claim with what the store said.
func (c *core) claimed(o *ownID, r storeResult) {
	o.claiming = false
	if r.err != nil {
		c.doubts[o.info.ID.Key()] = struct{}{}
		c.refuseID(o, connector.ErrInterrupted, "the site's store cannot be asked: "+r.err.Error())
		return
	}
	if !c.lease.inForce {
		o.rev = r.rev
		c.refuseID(o, connector.ErrInterrupted, "this host lost contact to the site meanwhile")
		return
	}
	if c.outdated(o) {
		c.claim(o, claimRetries)
		return
	}
	o.rev, o.state, o.announced = r.rev, idInForce, true
	id := o.info.ID
	if s := c.site[id.Key()]; s != nil && s.rev < o.rev {
		c.dropSite(s)
	}
	c.announce(func(b []byte) []byte { return appendRegistered(b, &o.info, o.rev) }, func() {
		if !o.granted && !o.ended {
			o.granted = true
			c.hub.Granted(id, nil, "")
			c.tellInForce(o)
		}
	})
	c.tellInForce(o)
}

// outdated reports whether the store has to be asked for o again: while there was no lease another host may have taken
// the id, or may have given it up since.
func (c *core) outdated(o *ownID) bool { return o.stale || o.since != c.lease.times }

// refuseID ends a claim that failed: for the first time it is refused, later it is suspended still, or lost.
func (c *core) refuseID(o *ownID, why *connector.Error, text string) {
	o.claiming = false
	switch {
	case o.ended:
	case o.state == idClaiming:
		c.giveUp(o, why, text)
	case why == connector.ErrDuplicate && c.lease.inForce && c.outdated(o):
		c.claim(o, claimRetries)
	case why == connector.ErrDuplicate || why == connector.ErrProtocol:
		c.lose(o, text)
	case !o.granted:
		c.giveUp(o, why, text)
	default:
		c.lease.reclaim = true // it stays suspended until then
	}
}

// giveUp refuses an id that nobody was granted.
func (c *core) giveUp(o *ownID, why *connector.Error, text string) {
	o.ended = true
	delete(c.own, o.info.ID.Key())
	if o.rev != 0 {
		c.deleteID(o.info.ID, o.rev)
	}
	if o.announced {
		c.announce(func(b []byte) []byte { return appendNoID(b, o.info.ID, o.rev) }, nil)
	}
	c.hub.Granted(o.info.ID, why, text)
}

// tell tells the agent of o what has become of its registration.
func (c *core) tell(o *ownID, state connector.SiteState, text string) {
	o.told = state
	c.hub.State(o.info.ID, state, text)
}

// lose takes note that another host has the id now.
func (c *core) lose(o *ownID, text string) {
	o.state, o.ended = idLost, true
	delete(c.own, o.info.ID.Key())
	if o.announced {
		o.announced = false
		c.lost[o.info.ID.Key()] = lostID{rev: o.rev, until: c.now + 2*c.leaseTime()}
		c.announce(func(b []byte) []byte { return appendNoID(b, o.info.ID, o.rev) }, nil)
	}
	c.log.Warn("site-wide id lost", "id", o.info.ID, "why", text)
	if o.granted {
		c.tell(o, connector.SiteLost, text)
		return
	}
	c.hub.Granted(o.info.ID, connector.ErrDuplicate, text)
}

// idRecord takes note of an id of another host. Of two claims the higher revision counts, on every
// host alike.
func (c *core) idRecord(p *peer, f *fields) error {
	info := connector.IDInfo{ID: f.id(), Port: f.u32(), Owner: f.cred()}
	rev := f.u64()
	info.Name = f.name(0, maxIDName)
	info.Group = info.ID.Idx
	if err := f.end(recordID); err != nil {
		return err
	}
	if connector.HostOf(info.Port) != uint32(p.host) || info.ID == cbid.Control {
		return errPort
	}
	if cbid.OfHost(info.ID.Idx) && info.ID.Val != uint32(p.host) {
		c.refuse(p.host, errAgents)
		return nil
	}
	if c.cred != nil {
		info.Owner = c.cred(p.name, info.Owner)
	}
	key := info.ID.Key()
	if o := c.own[key]; o != nil && (o.state == idInForce || o.state == idSuspended) {
		c.stats.Conflicts++
		if rev < o.rev {
			return nil // theirs is the older one: they learn it from us
		}
		c.lose(o, fmt.Sprintf("host %s (number %d) has it now: port %d (%s)", p.name, p.host, info.Port, info.Name))
	}
	if s := c.site[key]; s != nil {
		if s.rev > rev {
			c.stats.Conflicts++
			return nil
		}
		c.dropSite(s)
	}
	if len(p.ids) >= maxPeerIDs {
		return fmt.Errorf("%w: more than %d ids of one host", errRecord, maxPeerIDs)
	}
	if err := c.hub.IDAdded(info); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	c.site[key] = &siteID{info: info, host: p.host, rev: rev}
	p.ids[key] = struct{}{}
	if !c.connected || !p.leased {
		c.hub.IDUnknown(info.ID, true)
	}
	return nil
}

func (c *core) noIDRecord(p *peer, f *fields) error {
	id, rev := f.id(), f.u64()
	if err := f.end(recordNoID); err != nil {
		return err
	}
	if s := c.site[id.Key()]; s != nil && s.host == p.host && s.rev <= rev {
		c.dropSite(s)
	}
	switch o := c.own[id.Key()]; {
	case o == nil || o.state != idInForce && o.state != idSuspended:
	case o.rev < rev:
		if o.state == idSuspended { // it is looked at when there is a lease again
			o.stale = o.claiming // and now once more
			break
		}
		// The key was that host's for a moment, by a takeover of which it was not told that it had worked.
		o.state = idSuspended
		c.claim(o, claimRetries)
	default:
		o.before = fmt.Sprintf("host %s (number %d), which had it before, has given it up", p.name, p.host)
		if o.state == idInForce {
			c.tellInForce(o)
		}
	}
	return nil
}

// tellLost tells a new peer what ids this host has lost while they did not see each other.
func (c *core) tellLost(p *peer) {
	for _, key := range sortedKeys(c.lost) {
		l := c.lost[key]
		if c.now >= l.until {
			delete(c.lost, key)
			continue
		}
		c.record(p, func(b []byte) []byte { return appendNoID(b, cbid.FromKey(key), l.rev) })
	}
}

// tellInForce tells an agent that its id is in force, if it was told otherwise, or if another host had it.
func (c *core) tellInForce(o *ownID) {
	if o.granted && (o.before != "" || o.told == connector.SiteSuspended) {
		c.tell(o, connector.SiteInForce, o.before)
		o.before = ""
	}
}

// dropSite forgets an id of another host.
func (c *core) dropSite(s *siteID) {
	key := s.info.ID.Key()
	delete(c.site, key)
	if p := c.peers[s.host]; p != nil {
		delete(p.ids, key)
	}
	c.hub.IDRemoved(s.info.ID)
}

// forgetDead deletes the key of an id whose host was given up, if this host is the one to do it.
func (c *core) forgetDead(p *peer, s *siteID) {
	for host, other := range c.peers {
		if host < c.host && other.reachable {
			return
		}
	}
	if !c.connected || !c.lease.inForce {
		return
	}
	id, rev, run := s.info.ID, s.rev, p.run
	c.store(storeGet, bucketHosts, leaseKey(p.host), nil, 0, func(r storeResult) {
		v, err := parseNamed(r.value)
		if errors.Is(r.err, errStoreNotFound) || r.err == nil && err == nil && v.run != run {
			c.deleteID(id, rev)
		}
	})
}
