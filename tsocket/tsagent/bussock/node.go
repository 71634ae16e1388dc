package bussock

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// A Node is an endpoint of a bus that has sockets: any number of streams, listeners and datagram sockets. A
// process needs one. Its methods may be called from any goroutine.
type Node struct {
	bus connector.Bus
	ep  connector.Endpoint
	cfg Config

	ctx    context.Context // ends when Close has given up waiting
	cancel context.CancelFunc
	wg     sync.WaitGroup // of all goroutines
	strays chan stray
	count  counters

	mu        sync.Mutex // guards what follows; nothing is called under it
	closed    bool
	up        *life // of the present connection to the bus
	isDown    bool  // the endpoint has no connection, and is about to get another port id
	next      uint32
	streams   map[uint32]*stream
	nextDgram uint16
	dgrams    map[uint16]*dgram
	listeners map[cbid.ID]*Listener
	names     map[cbid.ID]struct{}
	peers     map[uint32]*peer
	empty     chan struct{} // closed when the last stream goes; nil: nobody waits
}

// life is what ends when the connection to the bus breaks.
type life struct {
	ctx context.Context
	end context.CancelFunc
}

func newLife(ctx context.Context) *life {
	l := &life{}
	l.ctx, l.end = context.WithCancel(ctx)
	return l
}

// New opens an endpoint on b, which must stay open until the Node is closed.
func New(ctx context.Context, b connector.Bus, cfg *Config) (*Node, error) {
	ep, err := b.Endpoint(ctx)
	if err != nil {
		return nil, &tsocket.OpError{Op: "bus endpoint", Err: ofBus(err, "")}
	}
	n := &Node{
		bus: b, ep: ep, cfg: cfg.withDefaults(), next: firstStream,
		strays:  make(chan stray, mostStrays),
		streams: make(map[uint32]*stream), dgrams: make(map[uint16]*dgram),
		listeners: make(map[cbid.ID]*Listener), names: make(map[cbid.ID]struct{}), peers: make(map[uint32]*peer),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.up = newLife(n.ctx)
	n.wg.Go(n.receive)
	n.wg.Go(n.answerStrays)
	return n, nil
}

// Port returns the port id of the endpoint; another one after the connection to the bus was
// interrupted.
func (n *Node) Port() uint32 { return n.ep.Port() }

// errClosed is what a Node that is closed says.
var errClosed = tsocket.ErrClosed

// Close closes all sockets of the node in the orderly way, waits for Config.Linger until the bus has taken what they wrote, and
// closes the endpoint. It does not wait longer for a bus that is away. It is idempotent.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.ctx.Done()
		n.wg.Wait()
		return nil
	}
	n.closed = true
	streams, dgrams := values(n.streams), values(n.dgrams)
	listeners := values(n.listeners)
	names := n.names
	n.names = nil
	empty := make(chan struct{})
	if n.empty = empty; len(n.streams) == 0 {
		close(empty)
		n.empty = nil
	}
	n.mu.Unlock()

	var ids sync.WaitGroup // all at a time: the bus may be away
	for _, l := range listeners {
		ids.Go(func() { _ = l.Close() })
	}
	for id := range names {
		ids.Go(func() { _ = n.unregister(id) })
	}
	ids.Wait()
	for _, d := range dgrams {
		_ = d.Close()
	}
	for _, s := range streams {
		s.shut()
	}
	if n.cfg.Linger > 0 {
		timer := time.NewTimer(n.cfg.Linger)
		select {
		case <-empty:
		case <-timer.C:
		}
		timer.Stop()
	}
	n.mu.Lock()
	n.cancel()
	streams = values(n.streams)
	n.mu.Unlock()
	for _, s := range streams {
		s.fail(&Error{Errno: syscall.ENOTCONN, Text: "the node was closed", Err: errClosed}, false)
	}
	err := n.ep.Close()
	n.wg.Wait()
	n.unfollowAll()
	if err != nil {
		return &tsocket.OpError{Op: "close", Err: ofBus(err, "")}
	}
	return nil
}

// unregister gives an id back. It does not wait long for a bus that is away: the id is given back when that is here again.
func (n *Node) unregister(id cbid.ID) error {
	done := make(chan error, 1)
	go func() { done <- n.bus.DelCallback(context.Background(), id) }() // it ends with the bus at the latest
	timer := time.NewTimer(max(n.cfg.Linger, defaultLinger))
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return tsocket.ErrTimeout
	}
}

func values[K comparable, V any](m map[K]V) []V {
	all := make([]V, 0, len(m))
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// receive is the one goroutine that reads the endpoint. It waits for nothing else.
func (n *Node) receive() {
	for {
		ev, err := n.ep.Recv(n.ctx)
		if err != nil {
			if n.ctx.Err() == nil {
				// The Bus was closed, or its connection is not made again.
				n.down(err)
			}
			return
		}
		switch ev.Kind {
		case connector.EventMessage:
			n.message(&ev)
		case connector.EventLost:
			n.lost(ev.Lost)
		case connector.EventFailed:
			n.failed(&ev)
		case connector.EventDown:
			n.down(ev.Err)
		case connector.EventUp:
			n.mu.Lock()
			n.isDown = false
			n.mu.Unlock()
		}
	}
}

func (n *Node) message(ev *connector.Event) {
	m := &ev.Msg
	h, body, ok := parse(m.Data)
	if !ok || m.ID != cbid.BusSock || ev.From.Group != 0 {
		n.count.foreign.Add(1)
		return
	}
	switch h.op {
	case opData, opWindow, opReset:
		n.mu.Lock()
		s := n.streams[h.sock]
		n.mu.Unlock()
		if s == nil || !s.happened(ev.From.Port, m.Seq, h, body) {
			n.stray(h.op, ev.From.Port, m.Seq, h.sock)
		}
	case opDgrams:
		if h.sock >= firstStream || m.Seq >= firstStream || m.Seq == 0 {
			n.count.foreign.Add(1)
			return
		}
		n.mu.Lock()
		d := n.dgrams[uint16(h.sock)]
		n.mu.Unlock()
		if d == nil {
			n.count.unheard.Add(1)
			return
		}
		d.arrived(ev.From.Port, uint16(m.Seq), body)
	case opFence:
		if ev.From.Port == n.ep.Port() && h.arg <= 1<<32-1 {
			n.peerGone(uint32(h.arg))
			return
		}
		n.count.foreign.Add(1)
	default:
		n.count.foreign.Add(1)
	}
}

// failed is told that a message did not arrive.
func (n *Node) failed(ev *connector.Event) {
	if ev.Msg.ID != cbid.BusSock {
		return
	}
	n.mu.Lock()
	s, d := n.streams[ev.Msg.Seq], (*dgram)(nil)
	if ev.Msg.Seq < firstStream {
		d = n.dgrams[uint16(ev.Msg.Seq)]
	}
	n.mu.Unlock()
	switch {
	case s != nil:
		s.undelivered(ev.From.Port, ev.Err)
	case d != nil:
		d.undelivered(Addr(ev.From.Port, uint16(ev.Msg.Ack)), ev.Err)
	}
}

// lost is told that messages were dropped on their way here: datagrams, for those of
// streams wait. Whose they were nobody knows.
func (n *Node) lost(messages uint64) {
	n.count.lost.Add(messages)
	n.mu.Lock()
	dgrams := values(n.dgrams)
	n.mu.Unlock()
	for _, d := range dgrams {
		d.missed(messages)
	}
}

// down ends what does not outlive the connection to the bus: every stream, and with it the port id
// by which the peers of datagram sockets know this endpoint. Each socket tells it once.
func (n *Node) down(cause error) {
	n.mu.Lock()
	old := n.up
	n.up = newLife(n.ctx)
	n.isDown = true
	streams, dgrams := values(n.streams), values(n.dgrams)
	n.mu.Unlock()
	old.end()
	err := ofBus(cause, interrupted)
	err.Errno = syscall.ECONNRESET
	for _, s := range streams {
		s.fail(err, false)
	}
	for _, d := range dgrams {
		d.interrupted(err)
	}
}

// add gives a stream its number; an error says that there are too many.
func (n *Node) add(s *stream) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return errClosed
	case len(n.streams) >= n.cfg.Sockets:
		return &Error{Errno: syscall.EMFILE, Text: "too many streams"}
	}
	for {
		if n.next++; n.next < firstStream {
			n.next = firstStream
		}
		if n.streams[n.next] == nil {
			break
		}
	}
	s.num, s.up = n.next, n.up
	n.streams[s.num] = s
	return nil
}

// where returns the port id for who asks by an id; not while it is about to change.
func (n *Node) where() (port uint32, refused answer) {
	n.mu.Lock()
	down := n.isDown
	n.mu.Unlock()
	if down {
		return 0, answer{errno: syscall.ECONNREFUSED, text: "connecting to the bus again"}
	}
	return n.ep.Port(), answer{}
}

// forget takes a stream out. Nothing of it is to be sent any more.
func (n *Node) forget(s *stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.streams[s.num] != s {
		return
	}
	delete(n.streams, s.num)
	n.leave(s)
	if n.empty != nil && len(n.streams) == 0 {
		close(n.empty)
		n.empty = nil
	}
}

// A stray is a message to a stream that there is not, whose sender is told so.
type stray struct {
	port, theirs, ours uint32
}

// mostStrays is how many wait to be answered; beyond it they are not.
const mostStrays = 64

func (n *Node) stray(o op, port, theirs, ours uint32) {
	n.count.strays.Add(1)
	if o == opReset || theirs < firstStream {
		return
	}
	select {
	case n.strays <- stray{port, theirs, ours}:
	default:
	}
}

func (n *Node) answerStrays() {
	buf := make([]byte, 0, headerLen)
	for {
		select {
		case <-n.ctx.Done():
			return
		case s := <-n.strays:
			m := connector.Message{ID: cbid.BusSock, Seq: s.ours, Data: header{op: opReset, sock: s.theirs, arg: uint64(syscall.EPIPE)}.append(buf)}
			// One who sends what it should not is not waited for.
			_ = n.ep.Post(n.ctx, m, connector.Dest{Port: s.port, Full: connector.FullDrop})
		}
	}
}

type counters struct {
	foreign, unheard, strays, lost, violations, unfollowed atomic.Uint64
}

// Stats are counts of a Node since New; those of the first group are of the present.
type Stats struct {
	Streams, Dgrams, Listeners, Peers int

	Lost       uint64 // messages that were dropped on their way here because this process received too slowly
	Unheard    uint64 // messages to datagram sockets that there are not
	Strays     uint64 // messages to streams that there are not, or of others
	Foreign    uint64 // messages that are none of this protocol
	Violations uint64 // streams that were reset because the peer did not keep to the protocol
	Unfollowed uint64 // peers whose end this bus cannot tell
}

// Stats returns the counts.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{
		Streams: len(n.streams), Dgrams: len(n.dgrams), Listeners: len(n.listeners), Peers: len(n.peers),
		Lost: n.count.lost.Load(), Unheard: n.count.unheard.Load(), Strays: n.count.strays.Load(),
		Foreign: n.count.foreign.Load(), Violations: n.count.violations.Load(), Unfollowed: n.count.unfollowed.Load(),
	}
}
