package procevent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Subscription receives process events from an Agent. Recv has one caller at a
// time.
type Subscription struct {
	ep     connector.Endpoint
	id     cbid.ID
	order  binary.ByteOrder
	filter Filter
	group  uint32
	agent  uint32 // port of the agent
	again  bool   // the bus was away: ask anew before going on

	// The agent is asked again from time to time whether it still has the
	// subscription; until then Recv waits in a context that ends at that time.
	parent context.Context
	wait   context.Context
	cancel context.CancelFunc
	due    time.Time

	forged, malformed atomic.Uint64

	// Of a subscription at another host:
	host string    // its name
	boot time.Time // when it was started, by this host's clock
}

// renewEvery is how often the agent is asked whether it still has the
// subscription, so that the end of an agent is noticed.
const renewEvery = 15 * time.Second

// Subscribe asks the agent on ep's bus for the events that pass f; the zero
// Filter for all. ep must be used for nothing else from then on; it stays the caller's to close.
// When it returns, events flow. Who may not have all events gets, for the zero Filter, those that
// the agent allows.
//
// It fails with an error that wraps connector.ErrNoID when the bus has no agent, and
// with the agent's errno, EPERM for one as connector.ErrPermission.
func Subscribe(ctx context.Context, ep connector.Endpoint, f Filter) (*Subscription, error) {
	return subscribe(ctx, &Subscription{ep: ep, id: ID, order: native, filter: f})
}

// SubscribeHost is Subscribe at the agent of a host of the site, given by its number; of the own host's too. Recv
// is told the arguments of the processes (Info.Cmdline) by agents with AgentConfig.SiteNames. SubscribeSite
// does this for all hosts.
func SubscribeHost(ctx context.Context, ep connector.Endpoint, host uint32, f Filter) (*Subscription, error) {
	return subscribe(ctx, &Subscription{ep: ep, id: SiteID(host), order: siteOrder, filter: f})
}

func subscribe(ctx context.Context, s *Subscription) (*Subscription, error) {
	err := s.filter.Check()
	if err == nil {
		err = s.join(ctx)
	}
	if err != nil {
		return nil, s.error(err)
	}
	return s, nil
}

// HostName is the name of the host whose agent has the subscription, and Boot when that was started, by
// the clock of this one; both only after SubscribeHost.
func (s *Subscription) HostName() string { return s.host }

// Boot is when Event.Time was zero; see HostName.
func (s *Subscription) Boot() time.Time { return s.boot }

func (s *Subscription) error(err error) error {
	return &connector.OpError{Op: "subscribe", ID: s.id, HasID: true, Group: s.group, Err: err}
}

func (s *Subscription) join(ctx context.Context) error {
	s.due = time.Now().Add(renewEvery)
	if s.filter.IsZero() && s.id == ID {
		err := s.joinAll(ctx)
		if !errors.Is(err, connector.ErrPermission) {
			return err
		}
	}
	return s.joinFilter(ctx)
}

func (s *Subscription) joinAll(ctx context.Context) error {
	if err := s.moveTo(ctx, Group); err != nil {
		return err
	}
	_, err := s.call(ctx, native.AppendUint32(nil, opListen))
	return err
}

// joinTries bounds how often a filter may vanish between being asked for and joined.
const joinTries = 4

// joinFilter asks for a group, joins it, and asks again: only then it is sure that the
// agent did not drop it in between.
func (s *Subscription) joinFilter(ctx context.Context) error {
	group, err := s.call(ctx, s.filter.appendSubscribe(nil, s.group, s.order))
	for range joinTries {
		if err != nil {
			return err
		}
		if group == s.group {
			return nil
		}
		if err := s.moveTo(ctx, group); err != nil {
			return err
		}
		group, err = s.call(ctx, s.filter.appendSubscribe(nil, group, s.order))
	}
	switch {
	case err != nil:
		return err
	case group == s.group:
		return nil
	}
	return fmt.Errorf("the agent gave %d groups one after the other: %w", joinTries, connector.ErrProtocol)
}

// moveTo leaves the present group for another.
func (s *Subscription) moveTo(ctx context.Context, group uint32) error {
	if s.group != 0 && s.group != group {
		if err := s.ep.Leave(ctx, s.group); err != nil {
			return err
		}
	}
	s.group = group
	return s.ep.Join(ctx, group)
}

// call asks the agent and returns the group it answered with.
func (s *Subscription) call(ctx context.Context, data []byte) (uint32, error) {
	reply, err := s.ep.Call(ctx, connector.Message{ID: s.id, Data: data}, connector.Dest{})
	if err != nil {
		return 0, err
	}
	errno, group, err := parseAnswer(reply.Msg.Data, s.order)
	switch {
	case err != nil:
		return 0, err
	case errno == uint32(syscall.EPERM):
		return 0, fmt.Errorf("the agent refuses: %w", connector.ErrPermission)
	case errno != 0:
		return 0, fmt.Errorf("the agent refuses: %w", syscall.Errno(errno))
	}
	s.agent = reply.From.Port
	if s.id != ID {
		s.boot = time.Now().Add(-time.Duration(s.order.Uint64(reply.Msg.Data[8:])))
		s.host = printable(reply.Msg.Data[Size:])
	}
	return group, nil
}

// Group is the group that the events come through.
func (s *Subscription) Group() uint32 { return s.group }

// Forged counts messages to the group that did not come from the agent; they are
// not delivered.
func (s *Subscription) Forged() uint64 { return s.forged.Load() }

// Malformed counts messages of the agent that are no events.
func (s *Subscription) Malformed() uint64 { return s.malformed.Load() }

// Recv returns the next event. A loss in the kernel and one on the bus are both
// told by an Event of kind Lost in their place; so is that the bus or the agent was away, after which
// the subscription has been made anew. It returns ctx's error, the endpoint's errors, and the
// failure to subscribe again, after which it may be called to try once more.
func (s *Subscription) Recv(ctx context.Context) (Event, error) {
	for {
		if s.again {
			if err := s.join(ctx); err != nil {
				return Event{}, s.error(err)
			}
			s.again = false
			return Event{Kind: Lost}, nil
		}
		ev, err := s.ep.Recv(s.until(ctx))
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			if lost, err := s.renew(ctx); err != nil || lost {
				return Event{Kind: Lost}, err
			}
			continue
		case err != nil:
			return Event{}, err
		}
		switch ev.Kind {
		case connector.EventMessage:
			if e, ok := s.message(&ev); ok {
				return e, nil
			}
		case connector.EventLost:
			return Event{Kind: Lost, Count: ev.Lost, Exact: !ev.Unknown}, nil
		case connector.EventUp:
			s.again = true
		}
	}
}

// until returns ctx with the time of the next renewal as its deadline. It is made once for
// many calls.
func (s *Subscription) until(ctx context.Context) context.Context {
	if s.wait == nil || s.parent != ctx || s.wait.Err() != nil {
		s.Release()
		s.parent = ctx
		s.wait, s.cancel = context.WithDeadline(ctx, s.due)
	}
	return s.wait
}

// Release frees a timer that Recv keeps between calls; for the end.
func (s *Subscription) Release() {
	if s.cancel != nil {
		s.cancel()
	}
	s.parent, s.wait, s.cancel = nil, nil, nil
}

// renew asks the agent again and reports whether it is another, or had
// dropped the filter, so that events are missing.
func (s *Subscription) renew(ctx context.Context) (lost bool, err error) {
	agent, group := s.agent, s.group
	if err := s.join(ctx); err != nil {
		s.again = true
		return false, s.error(err)
	}
	return s.agent != agent || s.group != group, nil
}

// message decodes what came through the group.
func (s *Subscription) message(ev *connector.Event) (e Event, ok bool) {
	if ev.From.Group != s.group {
		return e, false // of the group before
	}
	if ev.From.Port != s.agent {
		s.forged.Add(1)
		return e, false
	}
	var err error
	switch ev.Msg.ID {
	case s.id:
		if e, err = Parse(ev.Msg.Data, s.order); err == nil {
			e.Seq = ev.Msg.Seq
			if args := ev.Msg.Data[Size:]; s.id != ID && len(args) > 0 {
				e.Info = &Info{Cmdline: strings.Split(string(args), "\x00")}
			}
			return e, true
		}
	case LostID:
		if e, err = parseLost(ev.Msg.Data, s.order); err == nil {
			return e, true
		}
	}
	s.malformed.Add(1)
	return e, false
}
