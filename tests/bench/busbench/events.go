package busbench

import (
	"context"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector/procevent"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// eventsQuiet is how long nothing may come before a subscriber gives up
// waiting for the rest.
const eventsQuiet = 10 * time.Second

// lifeKinds are the events of each process of the storm: it is made, executes, ends.
var lifeKinds = [...]procevent.Kind{procevent.Fork, procevent.Exec, procevent.Exit}

// eventTally is what one subscriber saw, by process. Recv's goroutine and the
// operations share it.
type eventTally struct {
	mu     sync.Mutex // guards what follows
	seen   map[uint32]uint8
	lost   uint64 // reported
	events uint64
	err    error
	came   chan struct{} // capacity 1
}

func (t *eventTally) add(e *procevent.Event, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.err = err
	case e.Kind == procevent.Lost:
		t.lost += e.Count
	case !e.IsThread():
		t.events++
		for i, k := range lifeKinds {
			if e.Kind == k {
				t.seen[e.Tgid] |= 1 << i
			}
		}
	}
	select {
	case t.came <- struct{}{}:
	default:
	}
}

// eventsSeen is a subscriber's report.
type eventsSeen struct {
	Seen   int    // of the events of the given processes
	Lost   uint64 // events reported as lost, of anybody
	Events uint64 // all events that came
}

// count returns how many of the events of the processes have come.
func (t *eventTally) count(pids []uint32) (eventsSeen, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := eventsSeen{Lost: t.lost, Events: t.events}
	for _, pid := range pids {
		for i := range lifeKinds {
			r.Seen += int(t.seen[pid] >> i & 1)
		}
	}
	return r, t.err
}

// eventsRole subscribes to the kernel's process events: by a socket of its own
// without an address, otherwise through the broker there.
func eventsRole(ctx context.Context, p *role.Proc) error {
	var at place
	if err := p.Args(&at); err != nil {
		return err
	}
	src, done, err := subscribeEvents(ctx, at)
	if err != nil {
		return err
	}
	defer done()
	t := &eventTally{seen: make(map[uint32]uint8), came: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		for {
			e, err := src.Recv(ctx)
			t.add(&e, err)
			if err != nil {
				return
			}
		}
	})
	role.Handle(p, opWait, func(ctx context.Context, pids []uint32) (eventsSeen, error) {
		quiet := time.NewTimer(eventsQuiet)
		defer quiet.Stop()
		for {
			r, err := t.count(pids)
			if err != nil || r.Seen == len(pids)*len(lifeKinds) {
				return r, err
			}
			select {
			case <-t.came:
				quiet.Reset(eventsQuiet)
			case <-quiet.C:
				return r, nil
			case <-ctx.Done():
				return r, context.Cause(ctx)
			}
		}
	})
	return p.Serve(ctx, nil)
}
