package proto

import (
	"testing"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// check fails if the endpoint's state contradicts itself or its limits.
func (e *Endpoint) check(t testing.TB) {
	t.Helper()
	must := func(ok bool, what string, args ...any) {
		if !ok {
			t.Helper()
			t.Fatalf(what, args...)
		}
	}
	l := &e.cfg.Limits
	clientConns, serviceConns, onChannels := 0, 0, 0
	hostConns, hostCalls, hostProven := map[*host]int{}, map[*host]int{}, map[*host]int{}
	peerConns, peerClients := map[*peer]int{}, map[*peer]int{}
	for i, c := range e.allConns {
		must(c.pos == i, "connection %d is at %d", c.pos, i)
		must(c.peerNode.on, "a connection without a peer")
		must(e.peers[c.peer.addr] == c.peer, "the peer of a connection is forgotten")
		peerConns[c.peer]++
		for ch := range c.channels {
			call := c.channels[ch].call
			must((call != nil) == (c.active&(1<<ch) != 0), "active bits")
			if call == nil {
				continue
			}
			onChannels++
			must(call.conn == c && int(call.channel) == ch && call.peer == c.peer, "a call that is elsewhere")
			must(call.state != Complete && call.state != Unused, "a call that has ended on a channel")
			call.check(must)
			if !c.client {
				hostCalls[c.peer.host]++
			}
		}
		must((c.idleList == nil) == (c.active != 0), "idle: %v, active %b", c.idleList != nil, c.active)
		if c.client {
			clientConns++
			peerClients[c.peer]++
			must(e.clients[c.id.CID] == c, "a client connection that is not found")
			must(c.bundle.conns[c.slot] == c, "its place in the bundle")
		} else {
			serviceConns++
			hostConns[c.peer.host]++
			if c.secured {
				hostProven[c.peer.host]++
			}
			found := false
			for s := e.conns[connKey{c.id.Epoch, c.id.CID}]; s != nil; s = s.sibling {
				found = found || s == c
			}
			must(found, "a service connection that is not found")
		}
	}
	must(clientConns == e.stats.LiveClientConns && clientConns == len(e.clients), "client connections")
	must(serviceConns == e.stats.LiveServiceConns, "service connections")
	must(l.ServiceConns < 0 || serviceConns <= l.ServiceConns, "%d service connections", serviceConns)
	waiting := 0
	for _, b := range e.bundles {
		waiting += b.waiting.n
		live := 0
		for _, c := range b.conns {
			if c != nil {
				live++
			}
		}
		must(live == b.live, "bundle of %d connections", b.live)
		must(b.live > 0 || b.calls > 0, "a bundle of nothing")
	}
	must(onChannels+waiting == e.clientCalls+e.serviceCalls, "calls: %d on channels, %d wait, %d and %d counted", onChannels, waiting, e.clientCalls, e.serviceCalls)
	must(l.ServiceCalls < 0 || e.serviceCalls <= l.ServiceCalls, "service calls")
	must(len(e.peers) == len(e.allPeers) && len(e.peers) == e.stats.LivePeers, "peers")
	for addr, p := range e.peers {
		must(p.addr == addr, "address of a peer")
		must(p.conns.n == peerConns[p] && p.clients == peerClients[p], "connections of a peer")
		must(p.idleNode.on == (p.conns.n == 0 && p.calls == 0), "an idle peer: %v with %d and %d", p.idleNode.on, p.conns.n, p.calls)
		must(e.hosts[addr.Addr()] == p.host, "host of a peer")
	}
	for _, h := range e.hosts {
		must(h.refs > 0 && h.conns == hostConns[h] && h.calls == hostCalls[h], "host: %d connections (%d), %d calls (%d), %d peers", h.conns, hostConns[h], h.calls, hostCalls[h], h.refs)
		must(h.proven == hostProven[h], "host: %d of %d connections are proven", h.proven, hostProven[h])
		must(l.CallsPerHost < 0 || h.calls <= l.CallsPerHost, "%d calls of a host", h.calls)
	}
	must(l.Replies < 0 || e.replies.n <= l.Replies, "replies")
	e.checkHalfOpen(must)
	e.timers.check(must)
}

func (e *Endpoint) checkHalfOpen(must func(ok bool, what string, args ...any)) {
	s, l := &e.half, &e.cfg.Limits
	n, bytes, holding := 0, 0, 0
	for x := s.all.head; x != nil; x = x.ageNode.next {
		n++
		must(s.byKey[x.key()] == x && e.hosts[x.id.Peer.Addr()] == x.host && x.hostNode.on, "a half-open connection that is not found")
		held := 0
		for _, d := range x.held {
			held += heldCost(d)
		}
		must(held == x.heldBytes && x.heldNode.on == (held > 0), "%d bytes held, %d counted", held, x.heldBytes)
		must(l.HeldBytes < 0 || held <= l.HeldBytes, "%d bytes held", held)
		must(x.timer.pos != 0 || e.cfg.Timers.HeardNothing < 0, "a half-open connection for ever")
		bytes += held
		if held > 0 {
			holding++
		}
	}
	must(n == s.all.n && n == len(s.byKey) && n == e.stats.LiveHalfOpen && (l.HalfOpen < 0 || n <= l.HalfOpen), "%d half-open connections", n)
	must(bytes == s.bytes && holding == s.held.n && (l.HalfOpenBytes < 0 || bytes <= l.HalfOpenBytes), "%d bytes held of all", bytes)
	for _, h := range e.hosts {
		must(l.ConnsPerHost < 0 || h.half.n <= l.ConnsPerHost, "%d half-open connections of a host", h.half.n)
	}
}

func (c *Call) check(must func(ok bool, what string, args ...any)) {
	q, s := &c.rx, &c.tx
	ahead := q.next.Sub(q.consumed) - 1
	must(ahead >= 0 && ahead <= q.window, "%d packets not consumed, window %d", ahead, q.window)
	must(q.waiting >= 0 && q.waiting <= q.window, "%d packets wait", q.waiting)
	must(!q.top.After(q.limit()), "a packet beyond the window")
	n := 0
	if q.slots != nil {
		for i, b := range q.slots {
			if b != nil {
				n++
				must(int(b.seq%slotCount) == i && !b.seq.Before(q.next) && !b.seq.After(q.top), "packet %d waits for %d", b.seq, q.next)
			}
		}
	}
	must(n == q.waiting, "%d of %d packets wait", n, q.waiting)
	must(s.len() >= 0 && s.len() <= c.e.cfg.Windows.Queue, "%d packets to send", s.len())
	must(c.snd.Base() == s.base, "base %d, sender's %d", s.base, c.snd.Base())
	must(!c.snd.Next().After(s.next), "more was sent than queued")
	must(c.number > 0 && c.number <= wire.MaxCallNumber, "call number %d", c.number)
}

func (h *timerHeap) check(must func(ok bool, what string, args ...any)) {
	for i, it := range h.items {
		must(it.t.pos == i+1 && it.t.when == it.when, "timer %d", i)
		must(i == 0 || h.items[(i-1)/4].when <= it.when, "order of timers")
	}
}
