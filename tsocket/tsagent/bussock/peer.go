package bussock

import (
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// peer is an endpoint that streams are connected to. Its end is followed.
type peer struct {
	streams map[*stream]struct{}
	stop    func() // nil until the bus has said that it follows
}

// join notes that s is connected to its peer, and follows that one's end. n.mu is not held.
func (n *Node) join(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[s.num] != s || n.ctx.Err() != nil { // over already
		return
	}
	p := n.peers[s.peer]
	if p == nil {
		p = &peer{streams: make(map[*stream]struct{})}
		n.peers[s.peer] = p
		port := s.peer
		n.wg.Go(func() { n.follow(port, p) })
	}
	p.streams[s] = struct{}{}
}

// leave is the end of join; n.mu is held.
func (n *Node) leave(s *stream) {
	p := n.peers[s.peer]
	if p == nil {
		return
	}
	delete(p.streams, s)
	if len(p.streams) > 0 {
		return
	}
	delete(n.peers, s.peer)
	if stop := p.stop; stop != nil {
		n.later(stop)
	}
}

// later calls f without locks, on a goroutine. n.mu is held.
func (n *Node) later(f func()) {
	if n.ctx.Err() != nil { // nobody waits for it
		go f()
		return
	}
	n.wg.Go(f)
}

// follow asks the bus to tell when the port of p is gone.
func (n *Node) follow(port uint32, p *peer) {
	stop, err := connector.FollowPort(n.ctx, n.bus, port, func() { n.fence(port) })
	if err != nil {
		// What is sent to a port that is gone still comes back.
		n.count.unfollowed.Add(1)
		return
	}
	n.mu.Lock()
	if n.peers[port] == p {
		p.stop, stop = stop, nil
	}
	n.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// fence sends a message to this endpoint itself. When it is back, everything has arrived that the port sent
// before it went: the word that it is gone comes another way, and may be faster.
func (n *Node) fence(port uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil || n.peers[port] == nil {
		return
	}
	up := n.up
	n.wg.Go(func() {
		m := connector.Message{ID: cbid.BusSock, Data: header{op: opFence, arg: uint64(port)}.append(nil)}
		err := n.ep.Post(up.ctx, m, connector.Dest{Port: n.ep.Port()})
		if errors.Is(err, connector.ErrPermission) || errors.Is(err, connector.ErrLimit) {
			n.peerGone(port) // it cannot be waited for
		} // other errors are those of the connection to the bus, whose end ends all streams
	})
}

// peerGone ends the streams of an endpoint that is no more.
func (n *Node) peerGone(port uint32) {
	n.mu.Lock()
	var streams []*stream
	if p := n.peers[port]; p != nil {
		for s := range p.streams {
			streams = append(streams, s)
		}
	}
	n.mu.Unlock()
	for _, s := range streams {
		s.orphaned()
	}
}

// unfollowAll is the end of the node: nobody is followed any more.
func (n *Node) unfollowAll() {
	n.mu.Lock()
	peers := n.peers
	n.peers = make(map[uint32]*peer)
	n.mu.Unlock()
	for _, p := range peers {
		if p.stop != nil {
			p.stop()
		}
	}
}
