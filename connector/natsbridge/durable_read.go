package natsbridge

import (
	"errors"
	"slices"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// stored is a message as the hub gets it.
type stored = broker.Stored

// Locate asks for the ends of a durable group's stream.
func (c *core) Locate(group uint32, want connector.History) {
	if c.local != nil && c.local(group) {
		c.soon(func() {
			c.hub.Located(group, 0, 0, 0, false, connector.ErrInvalid, "a group that stays on its host cannot be durable")
		})
		return
	}
	if c.tooManyDurable(group) {
		c.soon(func() { c.hub.Located(group, 0, 0, 0, false, connector.ErrLimit, tooManyText) })
		return
	}
	d := c.durableGroup(group, want)
	d.locate = true
	d.retryAt = min(d.retryAt, c.now+pauseLast)
	c.touchDurable(d)
}

// openStream finds out where the stream begins and ends.
func (c *core) openStream(d *durable) {
	asked := d.locate
	d.locate, d.check, d.opening = false, false, true
	next := uint64(0)
	if d.reading != 0 {
		next = d.next // the answer may be older than what is read meanwhile
	}
	top, at := d.top, c.now
	op := streamOp{kind: streamOpen, want: d.want}
	if !d.make && (d.epoch != 0 || !asked && len(d.queue) == 0) {
		op.kind = streamLook // one that has been there is not there for a reason
	}
	if len(d.defs) > 0 {
		op.want = d.defs[0].want
		op.kind = streamDefine
		if !op.want.Durable {
			op.kind = streamDelete
		}
	}
	op.then = func(r streamResult) {
		d.opening = false
		switch {
		case r.err == nil && op.kind == streamDelete:
			c.endedHere(d)
			return
		case r.err == nil && d.isOld(&r, top, at):
			d.locate = d.locate || asked
			if op.kind == streamDefine {
				c.defined(d, nil)
			}
			c.putOff(d, "open", errStreamOld)
			return
		case r.err == nil:
			c.opened(d, &r, asked, next)
		case op.kind == streamLook && errors.Is(r.err, errStreamNone):
			c.gone(d, asked)
			return
		case definite(r.err):
			c.refuses(d, "open", r.err)
			if asked {
				d.wait(c.now, "open", r.err)
				d.locate = true // until somebody has an answer, or the hub reads no more
				c.hub.Located(d.group, 0, 0, 0, false, streamError(r.err), r.err.Error())
			}
			if !d.opened {
				c.settleKept(d, len(d.queue), streamError(r.err), r.err.Error())
			}
		default:
			d.locate = d.locate || asked
			c.putOff(d, "open", r.err)
			return
		}
		if op.kind == streamDefine || op.kind == streamDelete {
			c.defined(d, r.err)
		}
	}
	c.stream(d, op)
}

// isOld reports whether an answer to what was asked at that time, when the stream was known to have messages up to top, is not to be
// believed. A server that led the stream, and is cut off from the others, answers for seconds with what it had, while other
// servers have more, and readers have read it. It is believed that there is less only from a leader that has heard of a majority since the
// first such answer: if it led no more it would know by then.
func (d *durable) isOld(r *streamResult, top uint64, at int64) bool {
	if d.epoch != r.epoch || r.last >= top {
		d.old = 0
		return false
	}
	if d.old == 0 {
		d.old = at
	}
	if r.contact == 0 || r.contact < at-d.old {
		d.old = 0
		return false
	}
	return true
}

// gone is called when the stream of d is not there. If it was known as the site's, its end is on its way, and what waits is
// told; a group of this host's policy begins anew.
func (c *core) gone(d *durable, asked bool) {
	if _, known := c.durableKnown[d.group]; known {
		c.learn(d.group, connector.History{})
		return
	}
	d.opened, d.lastKnown, d.make = false, false, true
	d.locate = d.locate || asked || d.reading != 0
}

// opened takes note of where a stream is; next is what was to be read next when that was asked.
func (c *core) opened(d *durable, r *streamResult, asked bool, next uint64) {
	another := d.reading != 0 && (d.epoch != r.epoch || r.last+1 < next)
	if another || d.epoch != r.epoch {
		d.lastKnown = false
	}
	if d.epoch != r.epoch || another {
		d.top = 0
	}
	d.top = max(d.top, r.last)
	d.epoch, d.opened, d.make, d.batch = r.epoch, true, false, max(1, r.batch)
	d.did("open")
	if asked || another {
		c.hub.Located(d.group, r.epoch, r.first, r.last, another, nil, "")
	}
}

// Read begins, or with 0 ends, the reading of a durable group's messages.
func (c *core) Read(group uint32, pos uint64) {
	d := c.durables[group]
	if d == nil {
		return
	}
	d.reading, d.next, d.fetch = 0, pos, 0
	if pos == 0 {
		d.locate = false
	} else {
		c.readers++
		d.reading = c.readers
	}
	c.wire.Follow(group, d.reading, pos)
}

// storedMsgs takes what a reader has read.
func (c *core) storedMsgs(group uint32, reader uint64, msgs []streamMsg) {
	c.now = c.clock()
	d := c.durables[group]
	for i := range msgs {
		m := &msgs[i]
		if d == nil || d.reading != reader || m.seq < d.next {
			continue
		}
		d.next = m.seq + 1
		d.top = max(d.top, m.seq)
		s := c.parseStored(group, m)
		c.hub.Stored(group, &s)
	}
}

// readerBroke has a look whether the stream is the same still.
func (c *core) readerBroke(group uint32, reader uint64) {
	if d := c.durables[group]; d != nil && d.reading == reader {
		d.check = true
		c.touchDurable(d)
	}
}

// Fetch asks for older messages of a durable group.
func (c *core) Fetch(group uint32, pos uint64) {
	if d := c.durables[group]; d != nil {
		d.fetch = pos
		c.touchDurable(d)
	}
}

func (c *core) fetchStream(d *durable) {
	from, reader := d.fetch, d.reading
	d.fetching = true
	c.stream(d, streamOp{kind: streamFetch, seq: from, then: func(r streamResult) {
		d.fetching = false
		switch {
		case d.fetch != from || d.reading != reader: // the hub has changed its mind
		case errors.Is(r.err, errStreamNone):
			d.opened, d.check = false, true
		case r.err == nil && len(r.msgs) == 0 && r.first <= from:
			// A server that is behind.
			d.retryAt = c.now + pauseFirst
		case r.err != nil:
			c.putOff(d, "fetch", r.err)
		default:
			d.fetch = 0
			d.did("fetch")
			msgs := make([]stored, len(r.msgs))
			for i := range r.msgs {
				msgs[i] = c.parseStored(d.group, &r.msgs[i])
			}
			c.hub.Fetched(d.group, from, r.first, msgs)
		}
	}})
}

// Define makes a group durable, changes its bounds, or ends that.
func (c *core) Define(group, tag uint32, want connector.History) {
	refuse := func(err *connector.Error, text string) {
		c.soon(func() { c.hub.Defined(group, tag, err, text) })
	}
	switch {
	case c.local != nil && c.local(group):
		refuse(connector.ErrInvalid, "a group that stays on its host cannot be durable")
		return
	case c.tooManyDurable(group):
		refuse(connector.ErrLimit, tooManyText)
		return
	}
	d := c.durableGroup(group, want)
	d.defs = append(d.defs, definition{tag, want})
	d.check = true
	c.touchDurable(d)
}

// defined answers Define, and tells the other hosts.
func (c *core) defined(d *durable, err error) {
	def := d.defs[0]
	d.defs = d.defs[1:]
	d.check = len(d.defs) > 0
	if err != nil {
		c.hub.Defined(d.group, def.tag, streamError(err), err.Error())
		return
	}
	d.want = def.want
	c.tellDefined(d.group, def)
}

// endedHere is defined for the end of a durable group.
func (c *core) endedHere(d *durable) {
	def := d.defs[0]
	d.defs = d.defs[1:]
	c.tellDefined(d.group, def)
}

func (c *core) tellDefined(group uint32, def definition) {
	c.learn(group, def.want)
	c.announce(func(b []byte) []byte { return appendDurable(b, group, def.want) }, func() { c.hub.Defined(group, def.tag, nil, "") })
}

// learn takes note that a group is durable, or no longer.
func (c *core) learn(group uint32, want connector.History) {
	if c.listing {
		c.listAgain = true // what is under way is older than that
	}
	old, was := c.durableKnown[group]
	switch {
	case want.Durable && (was && old == want || len(c.durableKnown) >= durableMost && !was):
		return
	case want.Durable:
		c.durableKnown[group] = want
		c.hub.SetDurable(group, want)
	case !want.Durable:
		delete(c.durableKnown, group)
		d := c.durables[group]
		if d != nil {
			c.settleKept(d, len(d.queue), connector.ErrInterrupted, "the group is no longer durable")
			if d.reading != 0 {
				c.Read(group, 0)
			}
			delete(c.durables, group)
		}
		if was || d != nil { // it may be durable by the policy alone
			c.hub.SetDurable(group, want)
		}
		if d != nil && len(d.defs) > 0 { // what comes after the end
			again := c.durableGroup(group, d.defs[0].want)
			again.defs = append(again.defs, d.defs...)
			again.check = true
			c.touchDurable(again)
		}
	}
}

// list finds out which groups are durable.
func (c *core) list() {
	if c.listing {
		c.listAgain = true
		return
	}
	c.listing, c.listAgain = true, false
	c.wire.Stream(streamOp{kind: streamList, then: func(r streamResult) {
		c.now = c.clock()
		var missing []uint32
		for _, g := range sortedKeys(c.durableKnown) {
			if _, still := r.groups[g]; !still {
				missing = append(missing, g)
			}
		}
		if r.err != nil || len(missing) == 0 {
			c.listed(r.groups, nil, r.err)
			return
		}
		c.lookForEnded(r.groups, missing)
	}})
}

// lookForEnded asks for each group that is missing in the list whether it has ended: a list may have gaps.
func (c *core) lookForEnded(groups map[uint32]connector.History, missing []uint32) {
	var ended []uint32
	var failed error
	left := len(missing)
	for _, g := range missing {
		c.wire.Stream(streamOp{kind: streamLook, group: g, then: func(r streamResult) {
			c.now = c.clock()
			switch {
			case errors.Is(r.err, errStreamNone):
				ended = append(ended, g)
			case r.err != nil:
				failed = r.err
			}
			if left--; left == 0 {
				c.listed(groups, ended, failed)
			}
		}})
	}
}

// listed takes what list has found out, unless something has changed meanwhile.
func (c *core) listed(groups map[uint32]connector.History, ended []uint32, err error) {
	c.listing = false
	if c.listAgain {
		c.list()
		return
	}
	if err != nil {
		c.listAt = c.now + pauseLast
		c.wake(c.listAt)
	}
	for _, g := range sortedKeys(groups) {
		c.learn(g, groups[g])
	}
	slices.Sort(ended)
	for _, g := range ended {
		c.learn(g, connector.History{})
	}
}

// durableTick does what is due, and returns when there is more.
func (c *core) durableTick() (next int64) {
	if c.listAt != 0 && c.listAt <= c.now {
		c.listAt = 0
		c.list()
	}
	next = c.listAt
	for _, d := range c.durables {
		if d.retryAt == 0 {
			continue
		}
		if d.retryAt <= c.now {
			c.touchDurable(d)
		} else if next == 0 || d.retryAt < next {
			next = d.retryAt
		}
	}
	return next
}

// durableConnected is called when there is a connection to NATS again.
func (c *core) durableConnected() {
	for _, g := range sortedKeys(c.durables) {
		d := c.durables[g]
		d.retryAt, d.check = 0, true
		c.touchDurable(d)
	}
	c.list()
}
