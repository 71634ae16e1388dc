package natsbridge

import (
	"errors"

	"github.com/cnbus/cnbus/connector"
)

// renewals is how often a lease is renewed in its time.
const renewals = 5

// lease is this host's, as it knows of it.
type lease struct {
	rev      uint64
	until    int64 // by the clock of this host, counted from before it was asked for
	renewAt  int64
	renewing bool
	inForce  bool
	times    uint64 // that it has come into force again
	verify   bool   // there was no contact for a while: a key of an id may have become another's
	reclaim  bool   // there is a suspended id whose claim came to nothing
}

// next is when leaseTick has something to do.
func (l *lease) next() int64 {
	at := l.renewAt
	if l.inForce {
		at = min(at, l.until)
	}
	return at
}

// leased takes note of the lease that the host has got before it joined, and when it was asked for.
func (c *core) leased(rev uint64, asked int64) {
	c.lease = lease{rev: rev, until: asked + c.leaseTime(), renewAt: asked + c.leaseTime()/renewals, inForce: true}
}

// leaseTick renews the lease when that is due, and suspends what hangs on it when it has ended.
func (c *core) leaseTick() {
	l := &c.lease
	if l.inForce && c.now >= l.until {
		c.suspend("this host's lease has ended: it could not be renewed")
	}
	if c.now < l.renewAt {
		return
	}
	l.renewAt = c.now + c.leaseTime()/renewals
	if !l.renewing && c.connected {
		l.renewing = true
		c.renew()
	}
}

func (c *core) renew() {
	asked, kind := c.now, storeUpdate
	if c.lease.rev == 0 {
		kind = storeCreate
	}
	c.store(kind, bucketHosts, leaseKey(c.host), leaseValue(c.host, c.run, c.name), c.lease.rev, func(r storeResult) {
		l := &c.lease
		switch {
		case r.err == nil:
			l.renewing = false
			l.rev, l.until = r.rev, asked+c.leaseTime()
			c.settleDoubts()
			switch {
			case c.now >= l.until:
			case !l.inForce:
				c.resume()
			case l.verify:
				c.verify()
			}
			if l.inForce && l.reclaim {
				c.reclaim()
			}
			if l.inForce {
				c.hub.Renewed()
			}
		case errors.Is(r.err, errStoreExists):
			// It has ended, or something of ours was done that we were told had failed.
			c.lookAtLease()
		default:
			l.renewing, l.verify = false, true
			c.log.Warn("the host's lease was not renewed", "err", r.err)
		}
	})
}

// verify looks at the key of each id: one that was taken over while there was no contact is lost.
func (c *core) verify() {
	c.lease.verify = false
	for _, key := range sortedKeys(c.own) {
		o := c.own[key]
		if o.state != idInForce || o.claiming {
			continue
		}
		c.store(storeGet, bucketIDs, idKey(o.info.ID), nil, 0, func(r storeResult) {
			switch {
			case o.ended || o.state != idInForce || o.claiming || r.err == nil && r.rev == o.rev:
			case r.err != nil && !errors.Is(r.err, errStoreNotFound):
				c.lease.verify = true
			default:
				o.state = idSuspended
				c.claim(o, claimRetries)
			}
		})
	}
}

// lookAtLease finds out what became of the lease.
func (c *core) lookAtLease() {
	c.store(storeGet, bucketHosts, leaseKey(c.host), nil, 0, func(r storeResult) {
		v, err := parseNamed(r.value)
		switch {
		case errors.Is(r.err, errStoreNotFound):
			c.lease.rev = 0
			c.renew()
			return
		case r.err != nil:
			c.lease.verify = true
			c.log.Warn("the host's lease was not renewed", "err", r.err)
		case err == nil && v.run == c.run:
			c.lease.rev = r.rev
			c.renew()
			return
		default:
			c.log.Error("another broker has joined under this host's name", "name", c.name, "number", c.host, "err", err)
		}
		c.lease.renewing = false
	})
}

// suspend takes the site-wide ids of this host out of force.
func (c *core) suspend(why string) {
	c.lease.inForce = false
	c.log.Warn("site-wide ids suspended", "why", why)
	for _, key := range sortedKeys(c.own) {
		o := c.own[key]
		if !o.granted {
			c.refuseID(o, connector.ErrInterrupted, why)
			continue
		}
		if o.state == idInForce {
			o.state = idSuspended
		}
		if o.told != connector.SiteSuspended {
			c.tell(o, connector.SiteSuspended, why)
		}
	}
	c.announce(func(b []byte) []byte { return appendLease(b, false) }, nil)
}

// resume is called when there is a lease again: every id is looked at, because another host
// may have claimed it.
func (c *core) resume() {
	c.lease.inForce, c.lease.verify = true, false
	c.lease.times++
	c.log.Info("the host's lease is in force")
	c.announce(func(b []byte) []byte { return appendLease(b, true) }, nil)
	c.reclaim()
}

// reclaim asks for every id that is suspended, and is not asked for already.
func (c *core) reclaim() {
	c.lease.reclaim = false
	for _, key := range sortedKeys(c.own) {
		if o := c.own[key]; o.state == idSuspended && !o.claiming {
			c.claim(o, claimRetries)
		}
	}
}
