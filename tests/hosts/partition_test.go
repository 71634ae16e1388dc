//go:build linux

package hosts

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// part has the packet filter of b drop everything between a and b: each believes that the other is slow.
func (w *world) part(a, b *host) {
	w.t.Helper()
	b.ns.within("nft", "add", "table", "inet", "parted")
	for _, dir := range []struct{ chain, hook, field string }{{"in", "input", "saddr"}, {"out", "output", "daddr"}} {
		b.ns.within("nft", "add", "chain", "inet", "parted", dir.chain, "{ type filter hook "+dir.hook+" priority 0 ; }")
		b.ns.within("nft", "add", "rule", "inet", "parted", dir.chain, "ip", dir.field, w.addr(a.n), "drop")
	}
}

// heal ends all parting.
func (w *world) heal() {
	w.t.Helper()
	for _, h := range w.hosts {
		h.ns.within("nft", "flush", "ruleset")
	}
}

// take registers an id on h as soon as its former owner's lease has ended: the store ends leases when it gets to it.
func (w *world) take(h *host, id cbid.ID) <-chan told {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		states, err := h.registerOnce(id)
		if err == nil {
			return states
		}
		w.pause(ctx, "the id may be taken: "+err.Error())
	}
}

// bothAreTold checks what follows when two hosts have had an id at a time: the one that had it first is told that it has lost
// it, and to whom, the other one by whom it was given up, and every host asks the same one.
func (w *world) bothAreTold(id cbid.ID, old <-chan told, first *host, taken <-chan told, second *host) {
	w.t.Helper()
	w.next(old, connector.SiteLost, second.cfg.Name)
	w.next(taken, connector.SiteInForce, first.cfg.Name)
	for _, h := range w.hosts {
		want := second.cfg.Name
		if h == first {
			want = first.cfg.Name // its agent serves its own host on: the registration is the host's alone now
		}
		h.answers(id, want)
	}
}

// crawl has an agent's endpoint on b read slowly while a sends to it as fast as it may. Nothing is lost, the sender waits, and
// nobody else does, neither on b nor on c.
func (w *world) crawl(a, b, c *host) {
	t := w.t.(*testing.T)
	slow, from := b.endpoint(), a.endpoint()
	same, other := unicast(t, a, b), unicast(t, a, c)
	const most, size = 400, 16000 // far more than may be on its way
	sent := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		for n := range uint32(most) {
			m := connector.Message{ID: trafficID, Seq: n, Data: make([]byte, size)}
			if err := from.Post(ctx, m, connector.Dest{Port: slow.Port()}); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	// Nobody reads: the sender stands.
	same.passes(200)
	other.passes(200)
	select {
	case err := <-sent:
		require.FailNow(t, "the sender did not have to wait", "%v", err)
	default:
	}
	for n := range uint32(most) {
		ev, err := slow.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, connector.EventMessage, ev.Kind)
		require.Equal(t, n, ev.Msg.Seq, "in order")
		if n%40 == 0 { // it crawls: the others go on meanwhile
			same.passes(1)
			other.passes(1)
		}
	}
	require.NoError(t, <-sent)
	same.end("unicast to the same host as one that reads slowly", true)
	other.end("unicast to another host", true)
}
