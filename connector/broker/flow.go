package broker

import (
	"slices"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// stopKey names a receiver as its sender does: by port, group or id.
type stopKey struct {
	port, group uint32
	id          cbid.ID
	byID        bool
}

// stopped is what a sender has outstanding for one receiver it was told not to
// send to.
type stopped struct {
	by   []*[]stop // the full receivers that hold it back; several for a group
	over int       // bytes it sent since
}

// stop is an entry of a full receiver: whom to tell Go.
type stop struct {
	c   *conn
	key stopKey
}

// mayOverrun is asked for each message to a full receiver. The first is taken
// and its sender told Stop; so is what was on its way, within a bound that a sender
// who heeds Stop does not reach, whatever others send to the same receiver. A sender
// beyond that is paused, and mayOverrun returns false.
func (h *hub) mayOverrun(c, d *conn, list *[]stop, o *overruns, key stopKey, n int) bool {
	s := h.stopFor(c, list, key)
	if s.over+n > h.tune.overrun || h.crowded(c, d, *o, n) {
		h.pause(c)
		return false
	}
	s.over += n
	o.add(c, n)
	return true
}

// overruns are the bytes that came for a full receiver since it is full, by uid: one can have many
// clients, and the next one when one has gone.
type overruns map[uint32]int

func (o *overruns) add(c *conn, n int) {
	if *o == nil {
		*o = make(overruns)
	}
	(*o)[c.acct.uid] += n
}

// crowd is what all clients of a uid may have on their way to a full receiver.
func (h *hub) crowd() int { return 16 * h.tune.overrun }

// crowded reports whether d, which is full, cannot take n bytes more of c's uid, whoever of it sends them.
func (h *hub) crowded(c, d *conn, o overruns, n int) bool {
	return o[c.acct.uid]+n > h.crowd() || h.swamped(d)
}

// swamped reports whether so much waits for the clients of d's uid, and for d, that not even what is on its
// way can be taken: twice what may wait, and what a few senders may have sent before they read Stop.
func (h *hub) swamped(d *conn) bool {
	n := d.acct.limits.QueuedBytes
	return n >= 0 && d.out.len() > 0 && d.acct.queued >= 2*n+int64(h.crowd())
}

// givesUp reports whether a message of c (nil: the broker's own) to d is given up: d's uid is swamped by its own
// doing, for which others do not wait.
func (h *hub) givesUp(c, d *conn) bool { return (c == nil || c.acct != d.acct) && h.swamped(d) }

// stopFor tells c Stop, once, until list is released.
func (h *hub) stopFor(c *conn, list *[]stop, key stopKey) *stopped {
	s := c.stopped[key]
	if s == nil {
		s = &stopped{}
		if c.stopped == nil {
			c.stopped = make(map[stopKey]*stopped)
		}
		c.stopped[key] = s
		h.stopFrame(c, frame.Stop, key)
		h.stats.Stops++
	}
	if !slices.Contains(s.by, list) {
		s.by = append(s.by, list)
		*list = append(*list, stop{c: c, key: key})
	}
	return s
}

// pause ends the reading of c until a receiver that it overran has room. Its
// own Hold is void meanwhile: Resume could not be read, and two that hold each
// other up would do so for ever.
func (h *hub) pause(c *conn) {
	c.paused = true
	h.stats.Pauses++
	if c.held && c.out.len() <= h.tune.queue/2 {
		h.relieved(c)
	}
	for _, r := range c.regs {
		if r.held {
			h.freed(r)
		}
	}
}

// glutted reports whether so much waits for c that nothing more may come of
// what it asks for. Messages to it have stopped before; these are answers, and replies.
func (h *hub) glutted(c *conn) bool {
	n := c.out.len()
	l := c.acct.limits.QueuedBytes
	return n >= h.tune.replies || n >= h.tune.share && l >= 0 && c.acct.queued >= l
}

// choke ends the reading of c until it reads: as every request has an answer,
// it could otherwise fill the memory by asking.
func (h *hub) choke(c *conn) {
	h.pause(c)
	c.choked = true
}

func (h *hub) unchoke(c *conn) {
	c.choked = false
	if c.paused {
		h.resume(c)
	}
}

// answered takes note that one of the answers that c waits for has come from other hosts. Whoever has no room for more is not
// read, as with answers that wait in its queue.
func (h *hub) answered(c *conn) {
	c.waits--
	if c.waits <= h.tune.waits/2 && c.paused && !c.closed {
		h.resume(c)
	}
}

// resume has a paused client read again. If the reason has not gone, it is paused again.
func (h *hub) resume(c *conn) {
	c.paused = false
	h.resumed = append(h.resumed, c)
}

// freed is called when messages for an id are not kept back any more.
func (h *hub) freed(r *reg) {
	r.overruns = nil
	h.releaseStops(&r.stops)
}

// spared reports whether messages to the port of c are to be kept back.
func (c *conn) spared() bool { return c.held && !c.paused }

// spared reports whether messages for the id are to be kept back.
func (r *reg) spared() bool { return r.held && !r.owner.paused }

func (h *hub) stopFrame(c *conn, t frame.Type, key stopKey) {
	hd := frame.Header{Type: t, Port: key.port, Group: key.group}
	if key.byID {
		h.control(c, hd, frame.AppendID(nil, key.id)...)
		return
	}
	h.control(c, hd)
}

// releaseStops tells Go to the senders that waited for this receiver alone.
func (h *hub) releaseStops(list *[]stop) {
	waiting := *list
	*list = nil
	for _, w := range waiting {
		s := w.c.stopped[w.key]
		if s == nil {
			continue
		}
		if i := slices.Index(s.by, list); i >= 0 {
			s.by = slices.Delete(s.by, i, i+1)
		}
		if len(s.by) > 0 {
			continue
		}
		delete(w.c.stopped, w.key)
		h.stopFrame(w.c, frame.Go, w.key)
		if w.c.paused {
			h.resume(w.c)
		}
	}
}

// dropStops forgets that c, which is gone, was told not to send: receivers that stay full do not remember who has
// been there.
func (h *hub) dropStops(c *conn) {
	for key, s := range c.stopped {
		for _, list := range s.by {
			*list = slices.DeleteFunc(*list, func(w stop) bool { return w.c == c && w.key == key })
		}
	}
	c.stopped = nil
}

// lostCount is a loss that a receiver has not been told of yet.
type lostCount struct {
	group   uint32
	n       uint64
	unknown bool // there may be more
}

// lose counts n messages of group (0: unicast) that d will not get. It is told
// before the next thing that it does get.
func (h *hub) lose(d *conn, group uint32, n uint64) { h.loseAs(d, lostCount{group: group, n: n}) }

func (h *hub) loseAs(d *conn, what lostCount) {
	d.stat.Lost += what.n
	h.stats.Lost += what.n
	for i := range d.lost {
		if l := &d.lost[i]; l.group == what.group && l.unknown == what.unknown {
			l.n += what.n
			return
		}
	}
	d.lost = append(d.lost, what)
}

// tellSoon tells d what it lost now if it has room, as nothing may come that it would be told before.
func (h *hub) tellSoon(d *conn) {
	if len(d.lost) > 0 && !h.full(d) {
		h.tellLost(d)
	}
}

// tellLost puts the losses into d's stream, here.
func (h *hub) tellLost(d *conn) {
	told := d.lost
	d.lost = nil
	for _, l := range told {
		hd := frame.Header{Type: frame.Lost, Group: l.group, Pos: l.n}
		if l.unknown {
			hd.Flags = frame.FlagUnknown
		}
		h.control(d, hd)
	}
	d.lost = told[:0]
}

// callers are the ports that called an id or a port and may wait for a reply.
type callers struct {
	last  uint32
	ports map[uint32]struct{}
}

func (s *callers) add(port uint32, h *hub) {
	if port == s.last {
		return
	}
	s.last = port
	if s.ports == nil {
		s.ports = make(map[uint32]struct{})
	}
	s.ports[port] = struct{}{}
	if len(s.ports) > 64 && len(s.ports) > 2*len(h.conns) {
		for p := range s.ports {
			if h.anyone(p) == nil {
				delete(s.ports, p)
			}
		}
	}
}

// goneTo tells the callers that no reply comes any more. A nil id means all
// calls to the port.
func (h *hub) goneTo(s *callers, port uint32, id *cbid.ID) {
	var body []byte
	if id != nil {
		body = frame.AppendID(nil, *id)
	}
	for p := range s.ports {
		if c := h.anyone(p); c != nil {
			h.control(c, frame.Header{Type: frame.Gone, Port: port, Pos: c.stat.FramesIn}, body...)
		}
	}
	*s = callers{}
}

// handleHold is for Hold and Resume.
func (h *hub) handleHold(c *conn, hd *frame.Header, body []byte) error {
	held := hd.Type == frame.Hold
	if len(body) == 0 {
		c.held = held
		if !held && c.out.len() <= h.tune.queue/2 {
			h.relieved(c)
		}
		return nil
	}
	id, rest, err := frame.ParseID(body)
	if err != nil || len(rest) > 0 {
		return frame.ErrBody
	}
	r := c.regs[id.Key()]
	if r == nil {
		return nil // Del is on its way in the other direction
	}
	r.held = held
	if !held {
		h.freed(r)
	}
	return nil
}
