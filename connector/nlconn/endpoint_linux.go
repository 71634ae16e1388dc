package nlconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
)

var _ connector.Endpoint = (*Endpoint)(nil)

const endpointBatch = 16

// Endpoint is a socket of a Bus.
type Endpoint struct {
	b     *Bus
	s     *Socket
	out   *sender
	in    *inbox
	calls *connector.Genealogy

	closing sync.Once
	wg      sync.WaitGroup

	drops uint32 // of the reader: told of
}

func newEndpoint(b *Bus, s *Socket) *Endpoint {
	return &Endpoint{
		b: b, s: s, out: newSender(b, s), in: newInbox(b.cfg.Queue),
		calls: connector.NewGenealogy(&connector.GenealogyConfig{Limit: b.cfg.Calls}),
	}
}

// Port implements connector.Endpoint.
func (e *Endpoint) Port() uint32 { return e.s.Port() }

// Join implements connector.Endpoint; group is 1 to 32.
func (e *Endpoint) Join(ctx context.Context, group uint32) error {
	if err := ctx.Err(); err != nil {
		return &connector.OpError{Op: "join", Group: group, Err: err}
	}
	return e.s.Join(group)
}

// Leave implements connector.Endpoint.
func (e *Endpoint) Leave(ctx context.Context, group uint32) error {
	if err := ctx.Err(); err != nil {
		return &connector.OpError{Op: "leave", Group: group, Err: err}
	}
	return e.s.Leave(group)
}

// Send implements connector.Endpoint. That a group has no members is not told.
func (e *Endpoint) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	port, err := e.target(&m, to)
	if err == nil {
		err = e.send(ctx, &m, to, port, false)
	}
	if err != nil {
		return &connector.OpError{Op: "send", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: err}
	}
	return nil
}

// Post is Send.
func (e *Endpoint) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	return e.Send(ctx, m, to)
}

// target is the port that a message goes to: for an id, where its callback is, or the kernel for its
// own ids if that is allowed.
func (e *Endpoint) target(m *connector.Message, to connector.Dest) (uint32, error) {
	switch {
	case to.Port != 0 || to.Group != 0:
		return to.Port, nil
	case m.ID.Idx == 1 && e.b.kernel && e.b.cfg.KernelIDs:
		return 0, nil
	}
	port, err := IDPort(m.ID)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", connector.ErrNoID, err)
	}
	return port, nil
}

func (e *Endpoint) send(ctx context.Context, m *connector.Message, to connector.Dest, port uint32, call bool) error {
	select {
	case <-e.out.done:
		return connector.ErrClosed
	default:
	}
	err := e.out.try(ctx, m, connector.Dest{Port: port, Group: to.Group, Full: to.Full}, call)
	switch {
	case err == nil:
		return nil
	case to.Port == 0 && errors.Is(err, connector.ErrNoPort):
		return connector.ErrNoID
	}
	return cause(err)
}

// Call implements connector.Endpoint. The end of the agent is noticed within a quarter of a second, unless its id
// has been registered again by then.
func (e *Endpoint) Call(ctx context.Context, m connector.Message, to connector.Dest) (connector.Event, error) {
	fail := func(err error, sent bool) (connector.Event, error) {
		return connector.Event{}, &connector.OpError{
			Op: "call", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: err, MayBeDelivered: sent,
		}
	}
	port, err := e.target(&m, to) // only its own agent answers for an id
	if err != nil {
		return fail(err, false)
	}
	reply := make(chan connector.Event, 1)
	call, err := e.calls.Begin(m.ID, port, reply)
	if err != nil {
		return connector.Event{}, err
	}
	defer e.calls.Cancel(call)
	e.in.calling(1)
	defer e.in.calling(-1)
	m.Seq, m.Ack = call.Seq, call.Ack
	if err := e.send(ctx, &m, to, port, true); err != nil {
		return fail(err, false)
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		select {
		case ev := <-reply:
			return ev, nil
		case <-ctx.Done():
			return fail(ctx.Err(), true)
		case <-e.out.done:
			return fail(connector.ErrClosed, true)
		case <-alive.C:
			if port != 0 && errors.Is(e.s.Send(nudge, port, 0), connector.ErrNoPort) && !e.replied(reply) {
				return fail(connector.ErrAgentGone, true)
			}
		}
	}
}

// aliveEvery is how often a Call makes sure that the port it waits for is there.
const aliveEvery = 250 * time.Millisecond

// nudge is no message: who gets it drops it.
var nudge = []byte{0}

// replied reports whether a reply has come after all, the last thing that the agent did. What was sent
// before the agent's end is in the socket already; the reader gets to it.
func (e *Endpoint) replied(reply chan connector.Event) bool {
	if m, err := e.s.MemInfo(); err != nil || m.Queued > 0 {
		return true // perhaps; look again the next time
	}
	return len(reply) > 0
}

// Recv implements connector.Endpoint. A loss is told behind what was queued when it began, and
// cannot be told apart by group: From.Group is 0.
func (e *Endpoint) Recv(ctx context.Context) (connector.Event, error) {
	err := error(connector.ErrClosed)
	var ev connector.Event
	select {
	case <-e.out.done:
	default:
		ev, err = e.in.pop(ctx, e.out.done)
	}
	if err != nil {
		return ev, &connector.OpError{Op: "receive", Port: e.Port(), Err: cause(err)}
	}
	return ev, nil
}

// CallStats tells of replies that came late, twice or from somebody else.
func (e *Endpoint) CallStats() connector.GenealogyStats { return e.calls.Stats() }

// Close implements connector.Endpoint.
func (e *Endpoint) Close() error {
	e.closing.Do(func() {
		close(e.out.done)
		e.s.Close()
		e.b.forget(e)
	})
	e.wg.Wait()
	return nil
}

// read is the goroutine that receives.
func (e *Endpoint) read() {
	dgrams := make([]Datagram, endpointBatch)
	owing := false
	for {
		for e.in.full() {
			select {
			case <-e.in.room:
			case <-e.out.done:
				return
			}
		}
		n, err := e.s.Receive(dgrams)
		switch {
		case errors.Is(err, ErrOverrun):
			owing = true
		case err != nil:
			e.in.fail(err)
			return
		}
		for i := range n {
			e.take(&dgrams[i])
		}
		if owing {
			owing = !e.lost(n == len(dgrams) || err != nil)
		}
	}
}

// lost tells of an overrun when what was queued before it has been read.
func (e *Endpoint) lost(more bool) bool {
	m, err := e.s.MemInfo()
	if err != nil || more && m.Queued > 0 {
		return false
	}
	if n := m.Drops - e.drops; n > 0 {
		e.drops = m.Drops
		e.in.put(&connector.Event{Kind: connector.EventLost, Lost: uint64(n)})
	}
	return true
}

// take takes one message: a reply to its call, anything else to Recv. What is no message
// is dropped, as the kernel does.
func (e *Endpoint) take(d *Datagram) {
	m, _, err := parseFrame(d.Data)
	if err != nil || d.Truncated {
		return
	}
	ev := connector.Event{Kind: connector.EventMessage, Msg: m}
	ev.From = connector.From{Port: d.Port, Group: d.Group, Cred: d.Cred}
	if d.Group == 0 {
		switch class, call := e.calls.Match(&ev.Msg, &ev.From); class {
		case connector.ClassReply:
			ev.Msg = ev.Msg.Clone()
			call.Tag.(chan connector.Event) <- ev
			return
		case connector.ClassLate, connector.ClassDuplicate, connector.ClassForeign:
			return // counted
		}
	}
	e.in.put(&ev)
}
