package broker

import (
	"slices"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// handleAdd registers an id for c.
func (h *hub) handleAdd(c *conn, hd *frame.Header, body []byte) error {
	id, name, err := frame.ParseNamed(body)
	if err != nil {
		return err
	}
	h.add(c, hd, id, name)
	return nil
}

// early is an Add for all hosts that came before there were any.
type early struct {
	c    *conn
	hd   frame.Header
	id   cbid.ID
	name string
}

// dropEarly forgets what a client that goes has waiting for the first join.
func (h *hub) dropEarly(c *conn) {
	h.early = slices.DeleteFunc(h.early, func(e early) bool {
		if e.c == c {
			c.acct.regs--
		}
		return e.c == c
	})
	h.earlyJoin = slices.DeleteFunc(h.earlyJoin, func(e earlyJoin) bool { return e.c == c })
	h.earlyDef = slices.DeleteFunc(h.earlyDef, func(e earlyDefine) bool { return e.c == c })
}

// asksFor reports whether c has asked for an id of idx for all hosts, and is not answered yet.
func (h *hub) asksFor(c *conn, idx uint32) bool {
	for _, e := range h.early {
		if e.c == c && e.id.Idx == idx {
			return true
		}
	}
	if h.site == nil {
		return false
	}
	for _, cl := range h.site.claims {
		if cl.r.owner == c && !cl.r.dead && cl.r.id.Idx == idx {
			return true
		}
	}
	return false
}

func (h *hub) add(c *conn, hd *frame.Header, id cbid.ID, name string) {
	wide := hd.Flags&(frame.FlagSite|frame.FlagTakeover) != 0
	if s := h.site; s != nil && !wide && s.wide != nil {
		wide = s.wide(id)
	}
	takeover, again := hd.Flags&frame.FlagTakeover != 0, hd.Flags&frame.FlagAgain != 0
	switch {
	case id == cbid.Control || h.taken(id) != nil:
		text := "id " + id.String() + " is already registered"
		if r := h.taken(id); r != nil {
			text = sprintf("id %v is already registered by port %d (%s, pid %d, uid %d)", id, r.owner.port, r.owner.name, r.owner.cred.PID, r.owner.cred.UID)
		}
		h.answer(c, hd.Tag, connector.ErrDuplicate, text)
		return
	case !c.rights.mayRegister(id):
		h.answer(c, hd.Tag, connector.ErrPermission, sprintf("uid %d may not register %v", c.cred.UID, id))
		return
	case wide && !printable(name):
		h.answer(c, hd.Tag, connector.ErrInvalid, sprintf("the name %q of an id for all hosts has control characters", name))
		return
	case wide && h.site == nil && h.willJoin && !again:
		if why := c.acct.take(&c.acct.regs, c.acct.limits.Registrations, "registrations"); why != "" {
			h.limit(c, why)
			h.answer(c, hd.Tag, connector.ErrLimit, why)
			return
		}
		h.early = append(h.early, early{c: c, hd: *hd, id: id, name: name})
		return
	case wide && h.site == nil && !h.willJoin:
		h.answer(c, hd.Tag, connector.ErrNotSupported, "this broker is not joined to others: nothing can be registered for all hosts")
		return
	}
	if why := c.acct.take(&c.acct.regs, c.acct.limits.Registrations, "registrations"); why != "" {
		h.limit(c, why)
		h.answer(c, hd.Tag, connector.ErrLimit, why)
		return
	}
	r := &reg{id: id, name: name, owner: c, since: h.now, takeover: takeover}
	switch {
	case wide && h.site == nil:
		h.registerSuspended(r, hd.Tag, "the broker has not joined the site yet")
	case wide:
		h.site.claim(r, hd.Tag, again)
	default:
		h.register(r, hd.Tag)
	}
}

// registerSuspended registers r, which is for all hosts, for this one until the site can be asked.
func (h *hub) registerSuspended(r *reg, tag uint32, why string) {
	r.suspended = true
	h.register(r, tag)
	h.tellSite(r, connector.SiteSuspended, why)
}

// printable reports whether a name is fit for the terminals of other hosts: it has no control characters.
func printable(name string) bool {
	for _, c := range []byte(name) {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return true
}

// taken is who has the id on this host, or asks for it. Whether another host has it the bridge finds out.
func (h *hub) taken(id cbid.ID) *reg {
	r := h.ids[id.Key()]
	if h.site == nil {
		return r
	}
	if cl := h.site.claims[id.Key()]; cl != nil && !cl.r.dead {
		return cl.r
	}
	if r != nil && r.far {
		return nil
	}
	return r
}

// register puts r into the tables and tells who must know.
func (h *hub) register(r *reg, tag uint32) {
	c, id := r.owner, r.id
	if h.site != nil {
		h.site.shadow(id)
	}
	h.ids[id.Key()] = r
	h.byIdx[id.Idx] = append(h.byIdx[id.Idx], r)
	if c.regs == nil {
		c.regs = make(map[uint64]*reg)
	}
	c.regs[id.Key()] = r
	r.inline = c.inlines[id.Key()]
	h.answer(c, tag, nil, "")
	h.tellInterest(c, id.Idx)
	h.changed(r, false)
}

// handleDel removes a registration of c.
func (h *hub) handleDel(c *conn, hd *frame.Header, body []byte) error {
	id, rest, err := frame.ParseID(body)
	if err != nil || len(rest) > 0 {
		return frame.ErrBody
	}
	r := c.regs[id.Key()]
	if r == nil {
		h.answer(c, hd.Tag, connector.ErrNoID, "id "+id.String()+" is not registered by this client")
		return nil
	}
	delete(c.regs, id.Key())
	wide := r.wide
	h.unregister(r)
	if wide && h.site != nil {
		c.waits++
		h.site.dels[id.Key()] = append(h.site.dels[id.Key()], held{c: c, tag: hd.Tag})
		return nil
	}
	h.answer(c, hd.Tag, nil, "")
	return nil
}

// unregister takes r out of the tables and tells who must know; the caller
// takes it out of its client.
func (h *hub) unregister(r *reg) {
	delete(h.ids, r.id.Key())
	regs := h.byIdx[r.id.Idx]
	regs = slices.Delete(regs, slices.Index(regs, r), slices.Index(regs, r)+1)
	if len(regs) == 0 {
		delete(h.byIdx, r.id.Idx)
	} else {
		h.byIdx[r.id.Idx] = regs
	}
	r.owner.acct.regs--
	r.dead = true
	if r.inline != nil {
		delete(r.owner.inlines, r.id.Key())
	}
	h.goneTo(&r.callers, r.owner.port, &r.id)
	h.releaseStops(&r.stops)
	h.changed(r, true)
	if s := h.site; s != nil {
		if r.wide {
			s.unregister(r.id)
		}
		s.unshadow(r.id)
	}
}

func (r *reg) info() connector.IDInfo {
	return connector.IDInfo{ID: r.id, Name: r.name, Group: r.id.Idx, Port: r.owner.port, Owner: r.owner.cred, Unknown: r.unknown}
}

// changed tells the notification requests and the watches of a registration
// or a removal.
func (h *hub) changed(r *reg, removed bool) {
	h.fire(r.id, removed)
	if removed {
		h.watch.IDRemoved(r.id)
	} else {
		h.watch.IDAdded(r.info())
	}
}
