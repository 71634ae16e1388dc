package busbench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// Names of the roles.
const (
	roleBroker     = "bus-broker"
	roleNATS       = "bus-nats-server"
	roleRelay      = "bus-relay"
	roleEcho       = "bus-echo"
	roleRequester  = "bus-requester"
	rolePublisher  = "bus-publisher"
	roleSubscriber = "bus-subscriber"
	roleCrowd      = "bus-crowd"
	roleHistory    = "bus-history"
	roleInProcess  = "bus-inprocess"
	roleEvents     = "bus-events"
	roleStorm      = "bus-storm"
	roleSite       = "bus-site"
	roleNATSStore  = "bus-nats-store"
)

// Roles are the processes that the suite is made of.
var Roles = map[string]role.Func{
	roleBroker:     broker,
	roleNATS:       natsServer,
	roleRelay:      relayServer,
	roleEcho:       echo,
	roleRequester:  requester,
	rolePublisher:  publisher,
	roleSubscriber: subscriber,
	roleCrowd:      crowd,
	roleHistory:    historyKeeper,
	roleInProcess:  inProcessRole,
	roleEvents:     eventsRole,
	roleStorm:      storm,
	roleSite:       siteBroker,
	roleNATSStore:  natsStore,
}

// Operations of the roles.
const (
	opRun  = "run"
	opWait = "wait" // the report of a run, an error if none comes
	opPoll = "poll" // the same, null if none comes
)

// echoArgs are the arguments of the roles echo and requester.
type echoArgs struct {
	At    place
	Topic uint32
	Size  int // of the payload
	More  int // echo registers as many further topics above Topic
}

// echo answers requests.
func echo(ctx context.Context, p *role.Proc) error {
	var a echoArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	c, err := a.At.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	for i := range a.More + 1 {
		if err := c.echo(ctx, a.Topic+uint32(i)); err != nil {
			return err
		}
	}
	return p.Serve(ctx, nil)
}

// tripsArgs ask for round trips, one after the other.
type tripsArgs struct {
	N    int
	Time time.Duration // stop after it; 0: never
}

// requester makes round trips and tells how long each took, in ns.
func requester(ctx context.Context, p *role.Proc) error {
	var a echoArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	c, err := a.At.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	call, err := c.caller(ctx, a.Topic)
	if err != nil {
		return err
	}
	msg := bytes.Repeat([]byte{'x'}, a.Size) // D-Bus wants UTF-8 without NUL
	role.Handle(p, opRun, func(ctx context.Context, r tripsArgs) ([]int64, error) {
		took := make([]int64, 0, r.N)
		begin := role.Now()
		for at := begin; len(took) < r.N && (r.Time == 0 || at-begin < int64(r.Time)); {
			n, err := call(ctx, msg)
			if err != nil {
				return nil, fmt.Errorf("round trip %d: %w", len(took)+1, err)
			}
			if n != a.Size {
				return nil, fmt.Errorf("round trip %d: sent %d bytes, got %d", len(took)+1, a.Size, n)
			}
			now := role.Now()
			took = append(took, now-at)
			at = now
		}
		return took, nil
	})
	return p.Serve(ctx, nil)
}

// pubArgs are the arguments of the role publisher.
type pubArgs struct {
	At   place
	To   target
	Size int
}

// burstArgs ask for messages numbered from From.
type burstArgs struct {
	From  uint64
	N     int
	Burst int           // so many at a time (0: all) ...
	Pace  time.Duration // ... and a burst each Pace
	Timed bool          // the subscribers keep how long each message took
}

// sent is the publisher's report: when it began, and when all had left it.
type sent struct{ First, Flushed int64 }

// publisher sends numbered messages.
func publisher(ctx context.Context, p *role.Proc) error {
	var a pubArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	c, err := a.At.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	post, flush, err := c.publisher(ctx, a.To)
	if err != nil {
		return err
	}
	if a.Size < payloadHeader {
		return fmt.Errorf("payload of %d bytes, at least %d", a.Size, payloadHeader)
	}
	msg := make([]byte, a.Size)
	role.Handle(p, opRun, func(_ context.Context, r burstArgs) (sent, error) {
		var s sent
		s.First = role.Now()
		for i := range r.N {
			if r.Burst > 0 && i > 0 && i%r.Burst == 0 {
				time.Sleep(time.Duration(s.First + int64(i/r.Burst)*int64(r.Pace) - role.Now()))
			}
			m := payload{seq: r.From + uint64(i)}
			if r.Timed {
				m.flags, m.sent = payloadTimed, role.Now()
			}
			if i == r.N-1 {
				m.flags |= payloadLast
			}
			m.put(msg)
			if err := post(msg); err != nil {
				return s, fmt.Errorf("message %d: %w", m.seq, err)
			}
		}
		err := flush()
		s.Flushed = role.Now()
		return s, err
	})
	return p.Serve(ctx, nil)
}

// subArgs are the arguments of the role subscriber.
type subArgs struct {
	At    place
	Group uint32 // 0: what is sent to this client alone
}

// subscriber counts messages. It reports on a run when
// its last message has come.
func subscriber(ctx context.Context, p *role.Proc) error {
	var a subArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	c, err := a.At.dial(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	reports := make(chan received, 64) // as many runs may pass unread
	t := &tally{done: func(r received) { reports <- r }}
	to, err := c.subscribe(ctx, a.Group, func(b []byte) { t.on(b, role.Now) }, t.lost)
	if err != nil {
		return err
	}
	poll := func(ctx context.Context, limit time.Duration) (*received, error) {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		select {
		case r := <-reports:
			return &r, nil
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	role.Handle(p, opPoll, poll)
	role.Handle(p, opWait, func(ctx context.Context, limit time.Duration) (*received, error) {
		r, err := poll(ctx, limit)
		if r == nil && err == nil {
			err = fmt.Errorf("no last message within %v", limit)
		}
		return r, err
	})
	return p.Serve(ctx, to)
}

// crowdArgs are the arguments of the role crowd.
type crowdArgs struct {
	At      place
	Clients int
	Each    int    // topics that each client answers, from Topic up
	Topic   uint32 // of the first client
	Group   uint32 // that each client listens to; 0: none
}

// crowd is many clients that are connected and idle.
func crowd(ctx context.Context, p *role.Proc) error {
	var a crowdArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	var all []conn
	defer func() {
		for _, c := range all {
			_ = c.close()
		}
	}()
	topic := a.Topic
	for range a.Clients {
		c, err := a.At.dial(ctx)
		if err != nil {
			return errors.Join(fmt.Errorf("client %d of %d", len(all)+1, a.Clients), err)
		}
		all = append(all, c)
		for range a.Each {
			if err := c.echo(ctx, topic); err != nil {
				return fmt.Errorf("topic %d: %w", topic, err)
			}
			topic++
		}
		if a.Group != 0 {
			if _, err := c.subscribe(ctx, a.Group, func([]byte) {}, func(uint64) {}); err != nil {
				return err
			}
		}
	}
	return p.Serve(ctx, nil)
}
