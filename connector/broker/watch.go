package broker

import (
	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// watcher is one watch of a client.
type watcher struct {
	c   *conn
	tag uint32
	num uint64 // in the WatchTable

	behind bool // stopped because c was full
}

func (h *hub) handleWatch(c *conn, hd *frame.Header, body []byte) error {
	rects, err := frame.ParseRects(body)
	if err != nil {
		return err
	}
	if c.watches[hd.Tag] != nil {
		h.answer(c, hd.Tag, connector.ErrInvalid, sprintf("watch %d exists already", hd.Tag))
		return nil
	}
	if why := c.acct.take(&c.acct.watches, c.acct.limits.Watches, "watches"); why != "" {
		h.limit(c, why)
		h.answer(c, hd.Tag, connector.ErrLimit, why)
		return nil
	}
	h.nextWatch++
	w := &watcher{c: c, tag: hd.Tag, num: h.nextWatch}
	h.watchers[w.num] = w
	if c.watches == nil {
		c.watches = make(map[uint32]*watcher)
	}
	c.watches[hd.Tag] = w
	h.answer(c, hd.Tag, nil, "")
	var set *cbid.Set
	if len(rects) > 0 {
		set = cbid.NewSet(rects...)
	}
	return h.watch.Add(w.num, set)
}

func (h *hub) handleUnwatch(c *conn, hd *frame.Header) {
	w := c.watches[uint32(hd.Pos)]
	if w == nil {
		h.answer(c, hd.Tag, connector.ErrNotFound, sprintf("no watch %d", hd.Pos))
		return
	}
	delete(c.watches, w.tag)
	h.unwatch(w)
	h.answer(c, hd.Tag, nil, "")
}

// unwatch forgets w; the caller takes it out of its client.
func (h *hub) unwatch(w *watcher) {
	h.watch.Remove(w.num)
	delete(h.watchers, w.num)
	w.c.acct.watches--
}

// pumpWatches gives the watchers their changes as far as there is room; a slow
// one gets the rest when its queue is written, or a fresh start.
func (h *hub) pumpWatches() {
	for {
		num, ok := h.watch.Ready()
		if !ok {
			return
		}
		if w := h.watchers[num]; w != nil {
			h.pumpWatch(w)
		}
	}
}

func (h *hub) pumpWatch(w *watcher) {
	w.behind = false
	for {
		if h.full(w.c) {
			w.behind = true
			return
		}
		ch, ok := h.watch.Next(w.num)
		if !ok {
			return
		}
		hd := frame.Header{
			Type: frame.Change, Code: uint16(ch.Kind), Tag: w.tag, Port: ch.Info.Port, Group: ch.Info.Group,
			UID: ch.Info.Owner.UID, GID: ch.Info.Owner.GID, PID: ch.Info.Owner.PID,
		}
		if ch.Info.Unknown {
			hd.Flags = frame.FlagUnknown
		}
		h.control(w.c, hd, frame.AppendNamed(nil, ch.Info.ID, ch.Info.Name)...)
	}
}
