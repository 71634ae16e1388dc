package broker

import (
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

var native = binary.NativeEndian

// send routes one Send; fr is the whole frame. It returns false when c must
// wait: c is paused, and the same frame comes again later.
func (h *hub) send(c *conn, hd *frame.Header, fr []byte) bool {
	body := fr[frame.HeaderLen:]
	if !oneMessage(body) {
		h.stats.Violations++
		h.bye(c, connector.ErrProtocol, "%v", checkSend(fr))
		return true
	}
	id := cbid.Make(native.Uint32(body[16:]), native.Uint32(body[20:]))

	var err *connector.Error
	ok := true
	switch {
	case c.proxy && !c.rights.connect && hd.Flags&frame.FlagReply == 0:
		err = connector.ErrPermission // on this host it could not even connect
	case hd.Port != 0:
		err, ok = h.sendPort(c, hd, fr)
	case hd.Group != 0:
		err, ok = h.sendGroup(c, hd, fr, hd.Group)
	case hd.Flags&frame.FlagAgent != 0:
		if h.ids[id.Key()] == nil {
			err = connector.ErrNoID
		} else {
			err, ok = h.sendGroup(c, hd, fr, id.Idx)
		}
	case id == cbid.Control && c.proxy:
		err = connector.ErrPermission // each host tells its own
	case id == cbid.Control:
		h.controlMessage(c, hd, fr)
	default:
		err, ok = h.sendID(c, hd, fr, id)
	}
	if !ok {
		return false
	}
	c.stat.Sent++
	c.stat.SentBytes += uint64(len(fr))
	if len(h.monitors) > 0 && !h.tapped {
		h.tap(c, hd, fr, err)
	}
	h.tapped = false
	if err != nil {
		h.refuse(c, hd, fr, err)
	}
	return true
}

// oneMessage reports whether the body of a Send holds exactly one connector message.
func oneMessage(body []byte) bool {
	return len(body) >= connector.HeaderLen && int(native.Uint32(body)) == len(body) &&
		native.Uint16(body[4:]) == connector.NlmsgDone && native.Uint16(body[6:]) == 0 &&
		int(native.Uint16(body[32:])) == len(body)-connector.HeaderLen
}

func checkSend(fr []byte) error {
	if !oneMessage(fr[frame.HeaderLen:]) {
		return fmt.Errorf("a Send of %d bytes does not hold exactly one connector message", len(fr))
	}
	return nil
}

// refuse tells the sender that its message went nowhere.
func (h *hub) refuse(c *conn, hd *frame.Header, fr []byte, err *connector.Error) {
	h.stats.refused(err)
	c.stat.Failed++
	if hd.Flags&frame.FlagAck != 0 {
		h.answer(c, hd.Tag, err, "")
		return
	}
	h.control(c, frame.Header{Type: frame.Fail, Flags: hd.Flags, Code: err.Code(), Port: hd.Port, Group: hd.Group, Tag: hd.Tag},
		fr[frame.HeaderLen:frame.HeaderLen+connector.HeaderLen]...)
}

// sendID delivers to the callback of id.
func (h *hub) sendID(c *conn, hd *frame.Header, fr []byte, id cbid.ID) (*connector.Error, bool) {
	r := c.route
	if r == nil || c.routeKey != id.Key() || r.dead {
		if !c.rights.maySend(id) {
			return connector.ErrPermission, true
		}
		if r = h.ids[id.Key()]; r == nil {
			return connector.ErrNoID, true
		}
		c.routeKey, c.route = id.Key(), r
	}
	if r.inline != nil {
		h.runInline(c, r, hd, fr)
		return nil, true
	}
	if r.far {
		if c.proxy {
			return connector.ErrNoID, true // it has been removed here
		}
		return h.site.sendID(c, r, hd, fr)
	}
	err, ok := h.unicast(c, r.owner, r, stopKey{id: id, byID: true}, hd, fr, frame.FlagToID)
	if err == nil && ok {
		r.count++
		if hd.Flags&frame.FlagCall != 0 {
			r.callers.add(c.port, h)
		}
	}
	return err, ok
}

// sendPort delivers to the client with hd.Port.
func (h *hub) sendPort(c *conn, hd *frame.Header, fr []byte) (*connector.Error, bool) {
	d := c.peer
	if d == nil || d.port != hd.Port || d.closed {
		d = h.own(hd.Port)
		c.peer = d
		if d == nil && h.site != nil && !c.proxy {
			if host := h.site.reaches(hd.Port); host != 0 {
				return h.site.sendPort(c, host, hd, fr)
			}
		}
	}
	if d == nil || !d.hello || d.last {
		return connector.ErrNoPort, true
	}
	if !c.rights.unicast && d.cred.UID != c.cred.UID && hd.Flags&frame.FlagReply == 0 {
		return connector.ErrPermission, true
	}
	err, ok := h.unicast(c, d, nil, stopKey{port: hd.Port}, hd, fr, 0)
	if err == nil && ok && hd.Flags&frame.FlagCall != 0 {
		d.callers.add(c.port, h)
	}
	return err, ok
}

// full reports whether d has no room: its queue, or what all clients of its
// uid have waiting, is at the limit, or it asked to be spared.
func (h *hub) full(d *conn) bool {
	return d.spared() || d.out.len() >= h.tune.queue || d.acct.limits.QueuedBytes >= 0 && d.acct.queued >= d.acct.limits.QueuedBytes
}

// unicast queues fr for d. It returns false when c must wait.
func (h *hub) unicast(c, d *conn, r *reg, key stopKey, hd *frame.Header, fr []byte, flags uint8) (*connector.Error, bool) {
	if h.full(d) || r != nil && r.spared() {
		switch {
		case hd.Flags&frame.FlagReply != 0:
			if h.glutted(d) {
				h.lose(d, 0, 1)
				return connector.ErrWouldBlock, true
			}
		case hd.Flags&frame.FlagDrop != 0, h.givesUp(c, d):
			h.lose(d, 0, 1)
			return connector.ErrWouldBlock, true
		default:
			list, o := &d.stops, &d.overruns
			if !h.full(d) {
				list, o = &r.stops, &r.overruns
			}
			if !h.mayOverrun(c, d, list, o, key, len(fr)) {
				return nil, false
			}
		}
	}
	stamp(fr, c.port, c.cred, flags|hd.Flags&(frame.FlagCall|frame.FlagReply), 0, 0)
	h.put(d, fr)
	h.stats.Delivered++
	if hd.Flags&frame.FlagAck != 0 {
		lossy := hd.Flags&(frame.FlagDrop|frame.FlagReply) != 0
		if lossy && d.mute {
			h.answer(c, hd.Tag, nil, "")
		} else {
			d.acks = append(d.acks, pendingAck{mark: d.out.enq, c: c, tag: hd.Tag, lossy: lossy})
		}
	}
	return nil, true
}

// put queues a stamped message for d.
func (h *hub) put(d *conn, fr []byte) {
	if len(d.lost) > 0 {
		h.tellLost(d)
	}
	copy(h.append(d, len(fr)), fr)
	d.stat.Delivered++
}

// stamp makes a Msg of the Send fr, in place: its receivers get the same bytes.
func stamp(fr []byte, port uint32, cred connector.Cred, flags uint8, group uint32, pos uint64) {
	hd := msgHeader(port, cred, len(fr), flags, group, pos)
	hd.Put(fr)
}

func msgHeader(port uint32, cred connector.Cred, n int, flags uint8, group uint32, pos uint64) frame.Header {
	return frame.Header{
		Len: uint32(n), Type: frame.Msg, Flags: flags, Port: port, Group: group,
		UID: cred.UID, GID: cred.GID, PID: cred.PID, Pos: pos,
	}
}

// pendingAck is an acknowledgement that waits for a queue to be written up to mark.
type pendingAck struct {
	mark   uint64
	c      *conn
	tag    uint32
	lossy  bool     // the sender does not wait for a receiver that does not read
	far    bool     // from another host
	follow *follow  // which is over if it fails
	join   *ackJoin // several receivers: the last one answers
}

type ackJoin struct {
	left  int
	taken bool             // one has it
	err   *connector.Error // why another host has not
}

// acked answers when the last receiver has the message, or went away.
func (h *hub) acked(a pendingAck, err *connector.Error) {
	if a.join != nil {
		if err == nil || !a.far { // a member that went is no member
			a.join.taken = true
		} else {
			a.join.err = err
		}
		if a.join.left--; a.join.left > 0 {
			return
		}
		if err = nil; !a.join.taken {
			err = a.join.err
		}
	}
	h.answer(a.c, a.tag, err, "")
}

// blocked is called when d's socket takes no more: who sent without wanting to
// wait is answered.
func (h *hub) blocked(d *conn) {
	d.mute = true
	kept := d.acks[:0]
	for _, a := range d.acks {
		if a.lossy {
			h.acked(a, nil)
		} else {
			kept = append(kept, a)
		}
	}
	d.acks = kept
}
