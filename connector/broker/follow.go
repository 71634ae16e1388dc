package broker

import (
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// follow is one client's wish to know when a port is gone.
type follow struct {
	c    *conn
	num  uint64 // chosen by the client
	port uint32
	d    *conn // who has the port; nil on another host
}

// handleFollow answers, and tells at once that the port is gone if nobody has it.
func (h *hub) handleFollow(c *conn, hd *frame.Header, body []byte) error {
	switch {
	case len(body) != 0:
		return frame.ErrBody
	case hd.Port == 0:
		h.answer(c, hd.Tag, connector.ErrInvalid, "port 0 means no port")
		return nil
	case c.follows[hd.Pos] != nil:
		h.answer(c, hd.Tag, connector.ErrInvalid, sprintf("follow %d exists already", hd.Pos))
		return nil
	}
	f := &follow{c: c, num: hd.Pos, port: hd.Port, d: h.own(hd.Port)}
	host := uint32(0)
	if f.d == nil && h.site != nil && !c.proxy {
		host = h.site.reaches(hd.Port)
	}
	if f.d == nil && host == 0 {
		h.answer(c, hd.Tag, nil, "")
		h.control(c, frame.Header{Type: frame.PortGone, Port: hd.Port, Pos: f.num})
		return nil
	}
	if why := c.acct.take(&c.acct.follows, c.acct.limits.Follows, "follows"); why != "" {
		h.limit(c, why)
		h.answer(c, hd.Tag, connector.ErrLimit, why)
		return nil
	}
	if c.follows == nil {
		c.follows = make(map[uint64]*follow)
	}
	c.follows[f.num] = f
	if host != 0 {
		h.site.follow(host, f, hd.Tag)
		return nil
	}
	if f.d.followers == nil {
		f.d.followers = make(map[*follow]struct{})
	}
	f.d.followers[f] = struct{}{}
	h.answer(c, hd.Tag, nil, "")
	return nil
}

// handleUnfollow has no answer: PortGone may be on its way.
func (h *hub) handleUnfollow(c *conn, hd *frame.Header, body []byte) error {
	if len(body) != 0 {
		return frame.ErrBody
	}
	if f := c.follows[hd.Pos]; f != nil {
		delete(c.follows, f.num)
		h.unfollow(f)
	}
	return nil
}

// unfollow forgets f; the caller takes it out of its client.
func (h *hub) unfollow(f *follow) {
	f.c.acct.follows--
	switch {
	case f.d != nil:
		delete(f.d.followers, f)
	case h.site != nil && !f.c.closed:
		h.site.unfollow(f)
	}
}

// portGone tells the follower of a client that is gone; the caller forgets the client.
func (h *hub) portGone(f *follow) {
	delete(f.c.follows, f.num)
	f.c.acct.follows--
	h.control(f.c, frame.Header{Type: frame.PortGone, Port: f.port, Pos: f.num})
}
