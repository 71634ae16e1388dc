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
	switch {
	case id == cbid.Control || h.ids[id.Key()] != nil:
		text := "id " + id.String() + " is already registered"
		if r := h.ids[id.Key()]; r != nil {
			text = sprintf("id %v is already registered by port %d (%s, pid %d, uid %d)", id, r.owner.port, r.owner.name, r.owner.cred.PID, r.owner.cred.UID)
		}
		h.answer(c, hd.Tag, connector.ErrDuplicate, text)
		return nil
	case !c.rights.mayRegister(id):
		h.answer(c, hd.Tag, connector.ErrPermission, sprintf("uid %d may not register %v", c.cred.UID, id))
		return nil
	}
	if why := c.acct.take(&c.acct.regs, c.acct.limits.Registrations, "registrations"); why != "" {
		h.limit(c, why)
		h.answer(c, hd.Tag, connector.ErrLimit, why)
		return nil
	}
	r := &reg{id: id, name: name, owner: c, since: h.now}
	h.ids[id.Key()] = r
	h.byIdx[id.Idx] = append(h.byIdx[id.Idx], r)
	if c.regs == nil {
		c.regs = make(map[uint64]*reg)
	}
	c.regs[id.Key()] = r
	h.answer(c, hd.Tag, nil, "")
	h.tellInterest(c, id.Idx)
	h.changed(r, false)
	return nil
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
	h.unregister(r)
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
	h.goneTo(&r.callers, r.owner.port, &r.id)
	h.releaseStops(&r.stops)
	h.changed(r, true)
}

// changed tells the notification requests and the watches of a registration
// or a removal.
func (h *hub) changed(r *reg, removed bool) {
	h.fire(r.id, removed)
	info := connector.IDInfo{ID: r.id, Name: r.name, Group: r.id.Idx, Port: r.owner.port, Owner: r.owner.cred}
	if removed {
		h.watch.IDRemoved(r.id)
	} else {
		h.watch.IDAdded(info)
	}
}
