package broker

import (
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Input handles a frame (Send, Follow or Unfollow) of the client of another host with that port. Consumed says
// when it is done, which is within the call unless the client has to wait. An error says what is wrong with the frame; nothing has come of
// it then.
func (l *SiteLoop) Input(port uint32, cred connector.Cred, name string, fr []byte) error {
	s := l.s
	if _, yes := s.outside(port); !yes {
		return fmt.Errorf("port %#x is of no other host: %w", port, connector.ErrInvalid)
	}
	hd, _, err := frame.Parse(fr)
	if err == nil && int(hd.Len) != len(fr) {
		err = frame.ErrLength
	}
	if err == nil {
		switch hd.Type {
		case frame.Send:
			err = checkSend(fr)
		case frame.Follow, frame.Unfollow:
			if len(fr) != frame.HeaderLen {
				err = frame.ErrBody
			}
		default:
			err = fmt.Errorf("type %d", hd.Type)
		}
	}
	if err != nil {
		return fmt.Errorf("frame of port %#x: %w: %w", port, err, connector.ErrProtocol)
	}
	c := s.proxies[port]
	if c == nil {
		c = s.h.openProxy(port, cred, name)
		s.proxies[port] = c
	}
	if c.cred != cred {
		s.h.recred(c, cred)
	}
	if c.paused || len(c.in) > 0 {
		if len(c.in)+len(fr) > max(2*s.h.tune.replies, proxyMost) {
			return fmt.Errorf("port %#x sends on while %d bytes of it wait: %w", port, len(c.in), connector.ErrProtocol)
		}
		c.in = append(c.in, fr...)
		return nil
	}
	if !s.handle(c, &hd, fr) {
		c.in = append(c.in, fr...)
	}
	return nil
}

// proxyMost is what a proxy's input may at least be before its host is refused: that host knows this one's window, but not how small its
// queues may be.
const proxyMost = 4 << 20

// openProxy makes the conn that stands for a client of another host.
func (h *hub) openProxy(port uint32, cred connector.Cred, name string) *conn {
	c := &conn{port: port, cred: cred, name: name, since: h.now, proxy: true, hello: true, acct: h.account(cred.UID)}
	c.acct.proxies++
	c.gids, c.rights = h.known.of(h.rules, c.who())
	return c
}

// handle returns false when c must wait.
func (s *site) handle(c *conn, hd *frame.Header, fr []byte) bool {
	h := s.h
	ok := true
	switch hd.Type {
	case frame.Send:
		before := c.stat.FramesIn
		c.stat.FramesIn = hd.Pos // in a Gone the client's own count is meant
		if ok = h.send(c, hd, fr); !ok {
			c.stat.FramesIn = before
			return false
		}
	case frame.Follow:
		_ = h.handleFollow(c, hd, nil) // it has no body
	case frame.Unfollow:
		_ = h.handleUnfollow(c, hd, nil)
	}
	s.busy = true
	s.up.Consumed(connector.HostOf(c.port), c.port, len(fr))
	return true
}

// again goes on with what a proxy had to wait with.
func (s *site) again(c *conn) {
	in := c.in
	for len(in) > 0 && !c.paused && !c.closed {
		hd, _, _ := frame.Parse(in) // checked by Input
		if !s.handle(c, &hd, in[:hd.Len]) {
			break
		}
		in = in[hd.Len:]
	}
	if c.in = nil; len(in) > 0 && !c.closed {
		c.in = append([]byte(nil), in...)
	}
}

// drain gives what is queued for a proxy to the bridge.
func (s *site) drain(c *conn) {
	host := connector.HostOf(c.port)
	for c.out.len() > 0 {
		b := c.out.pending()
		hd, _, _ := frame.Parse(b) // the hub's own
		s.busy = true
		if hd.Type == frame.Gone && connector.HostOf(hd.Port) == 0 {
			hd.Port = connector.SitePort(s.host, hd.Port)
			hd.Put(b)
		}
		if hd.Type != frame.Bye {
			s.up.Answer(host, c.port, b[:hd.Len])
		}
		s.h.written(c, int(hd.Len))
	}
	if c.last {
		s.remove(c)
	}
}

// Remove says that a client of another host is gone.
func (l *SiteLoop) Remove(port uint32) {
	if c := l.s.proxies[port]; c != nil {
		l.s.remove(c)
	}
}

func (s *site) remove(c *conn) {
	h := s.h
	delete(s.proxies, c.port)
	c.closed = true
	for f := range c.followers {
		h.portGone(f)
	}
	for _, f := range c.follows {
		h.unfollow(f)
	}
	c.follows, c.followers = nil, nil
	c.acct.queued -= int64(c.out.len())
	h.pool.put(c.out.buf)
	c.out = outq{}
	h.dropStops(c)
	c.route, c.peer, c.in = nil, nil, nil
	c.acct.proxies--
	h.stats.Sent += c.stat.Sent
	h.forget(c.acct)
}

// closed is called for a local client that is being closed.
func (s *site) closed(c *conn) {
	for _, f := range c.far {
		s.h.releaseStops(&f.stops) // no more than entries of c itself
	}
	c.far, c.called, c.farStops, c.farAcks = nil, nil, nil, nil
	for _, cl := range s.claims {
		if cl.r.owner == c {
			cl.r.dead = true // Granted finds it so
		}
	}
	if c.abroad {
		s.busy = true
		s.up.ClientGone(s.sitePort(c))
	}
}

// farKey names a receiver that a host told a client not to send to.
type farKey struct {
	host uint32
	key  stopKey
}

// Deliver takes what a host answers to the local client with that port: an Ack, Fail, Lost, Stop, Go, Gone or PortGone
// frame. A client that is gone needs no answer. An error says what is wrong with the frame.
func (l *SiteLoop) Deliver(host, port uint32, fr []byte) error {
	s := l.s
	hd, body, err := frame.Parse(fr)
	if err == nil && int(hd.Len) != len(fr) {
		err = frame.ErrLength
	}
	if err == nil {
		err = s.deliver(host, s.h.own(port), &hd, body)
	}
	if err != nil {
		return fmt.Errorf("answer of host %d for port %#x: %w: %w", host, port, err, connector.ErrProtocol)
	}
	return nil
}

func (s *site) deliver(host uint32, c *conn, hd *frame.Header, body []byte) error {
	h := s.h
	if hd.Port != 0 && connector.HostOf(hd.Port) != host {
		return fmt.Errorf("type %d about port %#x of another host", hd.Type, hd.Port)
	}
	switch hd.Type {
	case frame.Ack:
		key := ackKey{host, hd.Tag}
		if c == nil {
			return nil
		}
		a, known := c.farAcks[key]
		if !known {
			return nil
		}
		delete(c.farAcks, key)
		why := refusal(connector.ErrorFromCode(hd.Code))
		s.settle(a, why, string(body))
		return nil
	case frame.Fail:
		if len(body) != connector.HeaderLen {
			return frame.ErrBody
		}
		if c != nil && hd.Flags&frame.FlagCall != 0 {
			delete(c.called, hd.Port)
		}
	case frame.Stop, frame.Go:
		key := stopKey{port: hd.Port, group: hd.Group}
		if len(body) > 0 {
			id, rest, err := frame.ParseID(body)
			if err != nil || len(rest) > 0 {
				return frame.ErrBody
			}
			key.id, key.byID = id, true
		}
		if c != nil {
			s.farStop(host, c, key, hd.Type == frame.Stop)
		}
		return nil
	case frame.Gone:
		if len(body) != 0 && len(body) != 8 {
			return frame.ErrBody
		}
		if c != nil && len(body) == 0 {
			delete(c.called, hd.Port)
		}
	case frame.PortGone:
		if len(body) != 0 {
			return frame.ErrBody
		}
		if c != nil {
			if f := c.follows[hd.Pos]; f != nil && f.port == hd.Port && connector.HostOf(f.port) == host {
				h.portGone(f)
			}
		}
		return nil
	case frame.Lost:
		if len(body) != 0 {
			return frame.ErrBody
		}
		if c != nil {
			h.lose(c, hd.Group, hd.Pos)
			h.tellSoon(c)
		}
		return nil
	default:
		return fmt.Errorf("type %d", hd.Type)
	}
	if c != nil {
		h.control(c, frame.Header{
			Type: hd.Type, Flags: hd.Flags, Code: hd.Code, Port: hd.Port, Group: hd.Group, Tag: hd.Tag, Pos: hd.Pos,
		}, body...)
	}
	return nil
}

// settle ends the wait for a host's acknowledgement.
func (s *site) settle(a pendingAck, why *connector.Error, text string) {
	if f := a.follow; f != nil {
		s.h.answered(f.c)
		if why != nil && f.c.follows[f.num] == f {
			delete(f.c.follows, f.num)
			f.c.acct.follows--
		}
	}
	if a.join != nil {
		s.h.acked(a, why)
		return
	}
	s.h.answer(a.c, a.tag, why, text)
}

// farStop passes on what a host says of a receiver there; one that is full on several hosts is free when it is on
// all.
func (s *site) farStop(host uint32, c *conn, key stopKey, full bool) {
	at := farKey{host, key}
	list := c.farStops[at]
	switch {
	case full && list == nil && len(c.farStops) < maxCalled:
		if c.farStops == nil {
			c.farStops = make(map[farKey]*[]stop)
		}
		list = new([]stop)
		c.farStops[at] = list
		s.h.stopFor(c, list, key)
	case !full && list != nil:
		delete(c.farStops, at)
		s.h.releaseStops(list)
	}
}

// Credit says that a host has handled n bytes of frames of the local client with that port.
func (l *SiteLoop) Credit(host, port uint32, n int) {
	if c := l.s.h.own(port); c != nil && n > 0 {
		l.s.credit(c, host, n)
	}
}

// HostDown gives a host up: what was not acknowledged fails, calls have no reply, its clients are gone and nobody
// waits for it. Its ids and the groups in which it listens are the bridge's to remove, before.
func (l *SiteLoop) HostDown(host uint32, why string) { l.s.down(host, why) }

func (s *site) down(host uint32, why string) {
	h := s.h
	for port, c := range s.proxies {
		if connector.HostOf(port) == host {
			s.remove(c)
		}
	}
	delete(s.reach, host)
	delete(s.names, host)
	h.gate.hostUp(host, "")
	for _, r := range s.ids {
		if connector.HostOf(r.owner.port) == host {
			h.goneTo(&r.callers, r.owner.port, &r.id)
		}
	}
	for _, c := range h.conns {
		for key, a := range c.farAcks {
			if key.host == host {
				delete(c.farAcks, key)
				s.settle(a, connector.ErrInterrupted, sprintf("host %d: %s", host, why))
			}
		}
		s.forgetHost(c, host)
	}
}

// forgetHost ends what c has under way to a host.
func (s *site) forgetHost(c *conn, host uint32) {
	h := s.h
	for port := range c.called {
		if connector.HostOf(port) == host {
			delete(c.called, port)
			h.control(c, frame.Header{Type: frame.Gone, Port: port, Pos: c.stat.FramesIn})
		}
	}
	for _, f := range c.follows {
		if f.d == nil && connector.HostOf(f.port) == host {
			h.portGone(f)
		}
	}
	for at, list := range c.farStops {
		if at.host == host {
			delete(c.farStops, at)
			h.releaseStops(list)
		}
	}
	if f := c.far[host]; f != nil {
		delete(c.far, host)
		h.releaseStops(&f.stops)
		if c.paused {
			h.resume(c)
		}
	}
}
