package broker

import (
	"slices"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// handleMonitor makes c receive a copy of everything that passes.
func (h *hub) handleMonitor(c *conn, hd *frame.Header) {
	if !c.rights.monitor {
		h.answer(c, hd.Tag, connector.ErrPermission, sprintf("uid %d may not monitor", c.cred.UID))
		return
	}
	if !c.monitor {
		c.monitor = true
		h.monitors = append(h.monitors, c)
	}
	h.answer(c, hd.Tag, nil, "")
}

func (h *hub) dropMonitor(c *conn) {
	if i := slices.Index(h.monitors, c); i >= 0 {
		h.monitors = slices.Delete(h.monitors, i, i+1)
	}
}

// tap copies the Send fr of c to the monitors. A full monitor loses it, and is
// told.
func (h *hub) tap(c *conn, hd *frame.Header, fr []byte, err *connector.Error) {
	mon := frame.Header{
		Len: hd.Len, Type: frame.Mon, Flags: hd.Flags, Port: c.port, Group: hd.Group, Tag: hd.Port,
		UID: c.cred.UID, GID: c.cred.GID, PID: c.cred.PID, Pos: uint64(h.now),
	}
	if err != nil {
		mon.Code = err.Code()
	}
	for _, m := range h.monitors {
		if m == c || m.last {
			continue
		}
		if m.congested || h.full(m) {
			m.congested = m.out.len() > h.tune.queue/2
			h.lose(m, 0, 1)
			continue
		}
		if len(m.lost) > 0 {
			h.tellLost(m)
		}
		b := h.append(m, len(fr))
		mon.Put(b)
		copy(b[frame.HeaderLen:], fr[frame.HeaderLen:])
	}
}
