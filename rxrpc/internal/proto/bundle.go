package proto

import (
	"math/bits"
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// bundleKey is what calls must have in common to share connections. Linux leaves
// the service out and sends calls of one service to another (section 3.5 of the reference).
type bundleKey struct {
	peer    netip.AddrPort
	service wire.ServiceID
	index   wire.SecurityIndex
	upgrade bool
	group   uint64
	key     any
}

// A bundle is the connections for calls of one kind. Calls take the lowest free
// channel; when all are taken they wait in line.
type bundle struct {
	e         *Endpoint
	key       bundleKey
	peer      *peer
	security  ClientSecurity
	exclusive bool
	service   wire.ServiceID // what an upgrade made of it
	probe     bool           // the next connection asks for an upgrade
	probing   bool           // one is asking
	conns     []*conn        // nil: a free slot
	live      int
	from      int // no slot before has a free channel
	waiting   list[Call]
	calls     int
}

func (e *Endpoint) bundleOf(now Time, p *CallParams) *bundle {
	key := bundleKey{peer: p.Peer, service: p.Service, upgrade: p.Upgrade, group: p.Group}
	if p.Security != nil {
		key.index, key.key = p.Security.Index(), p.Security.Key()
	}
	if b := e.bundles[key]; b != nil && !p.Exclusive {
		return b
	}
	b := &bundle{e: e, key: key, peer: e.peerOf(now, p.Peer), security: p.Security, exclusive: p.Exclusive, service: p.Service, probe: p.Upgrade}
	b.waiting.at = onWait
	if !p.Exclusive {
		e.bundles[key] = b
	}
	return b
}

// forget drops the bundle when nothing uses it.
func (b *bundle) forget() {
	if b.live == 0 && b.calls == 0 && !b.exclusive {
		delete(b.e.bundles, b.key)
	}
}

// assign gives a call a channel, or lets it wait for one.
func (b *bundle) assign(now Time, c *Call) error {
	if b.waiting.n > 0 {
		b.waiting.add(c)
		return nil
	}
	cn, err := b.conn(now)
	switch {
	case err != nil:
		return err
	case cn == nil:
		b.waiting.add(c)
	default:
		b.take(now, cn, c)
	}
	return nil
}

// conn returns a connection with a free channel, which may be a new one, or nil if
// there can be none now.
func (b *bundle) conn(now Time) (*conn, error) {
	if b.probing {
		return nil, nil
	}
	for ; b.from < len(b.conns); b.from++ {
		if cn := b.conns[b.from]; cn != nil && cn.mayCall() {
			return cn, nil
		}
	}
	if limit := b.e.cfg.Limits.ConnsPerBundle; b.live > 0 && reached(b.live, limit) && reached(b.used(), limit) {
		return nil, nil
	}
	return b.open(now)
}

// used counts the connections but those that only wait to be forgotten: no call that ends there would
// ever let the next in line go on.
func (b *bundle) used() int {
	n := 0
	for _, cn := range b.conns {
		if cn != nil && (cn.active != 0 || !cn.noReuse) {
			n++
		}
	}
	return n
}

// mayCall reports whether the connection has a channel for a call.
func (c *conn) mayCall() bool {
	return !c.noReuse && c.active != 1<<wire.Channels-1 && c.probing == nil
}

func (b *bundle) take(now Time, cn *conn, c *Call) {
	ch := bits.TrailingZeros8(^cn.active)
	cn.occupy(c, ch)
	c.number = cn.channels[ch].number + 1
	c.service = cn.service
	if b.exclusive || c.number == wire.MaxCallNumber {
		cn.noReuse = true
	}
	if b.probe {
		b.probing, cn.probing = true, c
	}
	c.connected(now)
}

// open makes another connection.
func (b *bundle) open(now Time) (*conn, error) {
	e := b.e
	id := ConnID{Epoch: e.epoch, CID: e.newCID(now), Service: b.service, Peer: b.key.peer}
	var sec SecurityConn = none{}
	if b.security != nil {
		var err error
		if sec, err = b.security.NewClient(id); err != nil {
			return nil, err
		}
	}
	c := e.newConn(now, b.peer, id, true)
	c.secure(sec)
	c.bundle = b
	for i, old := range b.conns {
		if old == nil {
			b.conns[i], c.slot = c, i
			b.live++
			b.from = min(b.from, i)
			return c, nil
		}
	}
	c.slot = len(b.conns)
	b.conns = append(b.conns, c)
	b.live++
	return c, nil
}

// newCID returns the id of a new connection: ids are counted from a random start. Connections whose
// ids were given long ago are not reused (Linux retires those far from the cursor).
func (e *Endpoint) newCID(now Time) wire.CID {
	for {
		e.cid += wire.Channels
		if e.cid == 0 {
			continue
		}
		if _, taken := e.clients[e.cid]; !taken {
			return e.cid
		}
	}
}

// left gives the channel of a call that has ended to the next in line.
func (b *bundle) left(now Time, cn *conn, c *Call) {
	if cn.probing == c {
		cn.probing, b.probing = nil, false
		if c.result.Completion == Succeeded || cn.service != cn.id.Service {
			b.probe = false
			b.service = cn.service
		}
	}
	b.from = min(b.from, cn.slot)
	b.next(now)
}

// next lets calls that wait have the channels that are free.
func (b *bundle) next(now Time) {
	for c := b.waiting.head; c != nil; c = b.waiting.head {
		cn, err := b.conn(now)
		if err != nil {
			c.complete(now, securityFailed(err))
			continue
		}
		if cn == nil {
			return
		}
		b.waiting.remove(c)
		b.take(now, cn, c)
		if c.state != Complete {
			c.tell(Assigned)
		}
	}
}

// drop takes out a connection that was closed.
func (b *bundle) drop(c *conn) {
	b.conns[c.slot] = nil
	b.live--
	for n := len(b.conns); n > 0 && b.conns[n-1] == nil; n-- {
		b.conns = b.conns[:n-1]
	}
	b.from = min(b.from, len(b.conns))
	b.forget()
}
