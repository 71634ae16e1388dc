package broker

import (
	"errors"
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// input handles the frames in b and returns how many bytes it used: less than
// all when the last frame is not complete, or when c became paused. After a
// violation the rest is dropped and the connection is about to end.
func (h *hub) input(c *conn, b []byte) (used int) {
	for used < len(b) && !c.last && !c.closed {
		hd, body, err := frame.Parse(b[used:])
		if errors.Is(err, frame.ErrShort) {
			return used
		}
		if h.glutted(c) {
			h.choke(c)
			return used
		}
		if c.waits >= h.tune.waits {
			h.pause(c)
			return used
		}
		c.choked = false
		if err == nil {
			c.stat.FramesIn++
			if hd.Type == frame.Send && c.hello {
				h.more = len(b)-used-int(hd.Len) >= frame.HeaderLen
				if !h.send(c, &hd, b[used:used+int(hd.Len)]) {
					c.stat.FramesIn--
					return used // paused: the frame is handled again later
				}
			} else {
				err = h.request(c, &hd, body)
			}
		}
		if err != nil {
			h.stats.Violations++
			h.bye(c, connector.ErrProtocol, "%v", err)
			return len(b)
		}
		used += int(hd.Len)
	}
	if c.last || c.closed {
		return len(b)
	}
	return used
}

// request handles every frame but Send. An error is a violation of the
// protocol, not a refusal.
func (h *hub) request(c *conn, hd *frame.Header, body []byte) error {
	if !c.hello {
		if hd.Type != frame.Hello {
			return fmt.Errorf("first frame is of type %d instead of Hello", hd.Type)
		}
		name, err := frame.ParseHello(body)
		if err != nil {
			return err
		}
		c.hello, c.name = true, name
		h.greeting--
		h.control(c, frame.Header{Type: frame.Welcome, Tag: hd.Tag, Port: c.port, Pos: h.instance})
		return nil
	}
	switch hd.Type {
	case frame.Add:
		return h.handleAdd(c, hd, body)
	case frame.Del:
		return h.handleDel(c, hd, body)
	case frame.Join:
		return h.handleJoin(c, hd, body)
	case frame.Leave:
		h.handleLeave(c, hd)
	case frame.Watch:
		return h.handleWatch(c, hd, body)
	case frame.Unwatch:
		h.handleUnwatch(c, hd)
	case frame.Follow:
		return h.handleFollow(c, hd, body)
	case frame.Unfollow:
		return h.handleUnfollow(c, hd, body)
	case frame.Hold, frame.Resume:
		return h.handleHold(c, hd, body)
	case frame.History:
		return h.handleHistory(c, hd, body)
	case frame.Query:
		h.handleQuery(c, hd, string(body))
	case frame.Monitor:
		h.handleMonitor(c, hd)
	case frame.Ping:
		h.answer(c, hd.Tag, nil, "")
	case frame.Hello:
		return errors.New("second Hello")
	default:
		return fmt.Errorf("unknown frame type %d", hd.Type)
	}
	return nil
}

// written takes note that n bytes went out to c, and does what waited for it:
// acknowledgements, Go to senders, messages from histories.
func (h *hub) written(c *conn, n int) {
	c.out.written(&h.pool, n)
	c.acct.queued -= int64(n)
	c.stat.BytesOut += uint64(n)
	done := 0
	for done < len(c.acks) && c.acks[done].mark <= c.out.sent {
		h.acked(c.acks[done], nil)
		done++
	}
	if done > 0 {
		c.acks = append(c.acks[:0], c.acks[done:]...)
		if len(c.acks) == 0 {
			c.acks = nil
		}
	}
	if c.out.len() <= h.tune.queue/2 {
		h.relieved(c)
	}
}

// relieved is called when at most half of c's queue is left.
func (h *hub) relieved(c *conn) {
	c.congested = false
	if c.choked {
		h.unchoke(c)
	}
	for num := range c.interests {
		delete(c.interests, num)
		h.tellInterest(c, num)
	}
	if len(c.lost) > 0 && !c.spared() {
		h.tellLost(c)
	}
	if len(c.lagging) > 0 && !c.spared() {
		h.catchUp(c)
	}
	for _, w := range c.watches {
		if w.behind {
			h.pumpWatch(w)
		}
	}
	if !c.spared() && c.out.len() <= h.tune.queue/2 {
		c.overruns = nil
		if len(c.stops) > 0 {
			h.releaseStops(&c.stops)
		}
	}
}

// tick ends the clients that did not say Hello, or did not read their Bye, in
// time. It returns those that still have time, and when the next one's ends, 0 for never.
func (h *hub) tick(pending []*conn, end func(*conn)) (rest []*conn, next int64) {
	pending = append(pending, h.leaving...)
	h.leaving = nil
	for _, c := range pending {
		due := c.since + h.tune.hello
		if c.last {
			due = c.leave
		}
		switch {
		case c.closed || c.hello && !c.last:
			continue
		case due > h.now:
		case c.last:
			end(c)
			continue
		default:
			h.bye(c, connector.ErrTimeout, "no Hello within %d s", h.tune.hello/1e9)
			h.leaving = h.leaving[:0]
			due = c.leave
		}
		rest = append(rest, c)
		if next == 0 || due < next {
			next = due
		}
	}
	return rest, next
}
