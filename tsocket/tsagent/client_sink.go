package tsagent

import (
	"context"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// sinks are the ids to which the agent sends events, in the order of OPEN.
func (c *Client) sinks() []cbid.ID {
	switch none := (cbid.ID{}); {
	case c.cfg.Sink == none:
		return nil
	case c.cfg.Room == none:
		return []cbid.ID{c.cfg.Sink}
	}
	return []cbid.ID{c.cfg.Sink, c.cfg.Room}
}

func (c *Client) addSinks(ctx context.Context) error {
	takes := []func(context.Context, *connector.Delivery){
		func(_ context.Context, d *connector.Delivery) { c.dispatch(&d.Msg, 0) },
		func(_ context.Context, d *connector.Delivery) { c.room(&d.Msg) },
	}
	for i, id := range c.sinks() {
		if err := c.bus.AddCallback(ctx, id, "tsocket client", connector.Inline(connector.HandlerFunc(takes[i]))); err != nil {
			for _, id := range c.sinks()[:i] {
				_ = c.bus.DelCallback(context.Background(), id)
			}
			return err
		}
	}
	return nil
}

func (c *Client) delSinks() {
	for _, id := range c.sinks() {
		_ = c.bus.DelCallback(context.Background(), id)
	}
}

// room takes what comes to Config.Room: in the middle of a send, whose goroutine may have all sorts of things. It only counts.
func (c *Client) room(m *connector.Message) {
	h, _, err := ParseHeader(m.Data)
	if err != nil || h.Op != EvWindow {
		return
	}
	c.mu.Lock()
	s, _ := c.socks[h.Sock].(*clientDgram)
	c.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	s.granted(h.Arg)
	s.mu.Unlock()
	wake(s.writable)
}
