package procevent

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// siteHost is one host that a SiteSubscription follows.
type siteHost struct {
	s       *SiteSubscription
	number  uint32
	port    uint32 // of its agent
	name    atomic.Pointer[string]
	gone    chan struct{} // closed when its agent is
	again   bool          // it was followed before: what was between is missing
	stale   bool          // of the watch's goroutine, like unknown
	unknown bool
}

const (
	// hostAgain is when a host that could not be subscribed at is asked again.
	hostAgain = 5 * time.Second
	// hostDrain is how long the last events of a host that has gone are waited for.
	hostDrain = 50 * time.Millisecond
)

func (h *siteHost) event(c HostChange) *SiteEvent {
	return &SiteEvent{Host: h.number, Name: *h.name.Load(), Change: c, At: time.Now()}
}

// run follows the host until it is gone.
func (h *siteHost) run() {
	ctx, cancel := context.WithCancel(h.s.ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	h.s.wg.Go(func() {
		select {
		case <-h.gone:
			cancel()
		case <-stop:
		}
	})
	told := false // that it is here
	for ctx.Err() == nil {
		sub, done, err := h.subscribe(ctx)
		if err == nil {
			told = h.begun(sub)
			err = h.follow(ctx, sub)
			done()
			h.again = true
		}
		if ctx.Err() != nil {
			break
		}
		e := h.event(HostRefused)
		e.Err = hostError(e.Name, err)
		if !h.s.put(e) {
			return
		}
		told = true
		wait := time.NewTimer(hostAgain)
		if isRefusal(err) {
			wait.Stop()
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
	if told && h.s.ctx.Err() == nil {
		h.s.put(h.event(HostGone))
	}
}

func (h *siteHost) subscribe(ctx context.Context) (*Subscription, func(), error) {
	ep, err := h.s.bus.Endpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	sub, err := SubscribeHost(ctx, ep, h.number, h.s.filter)
	if err != nil {
		ep.Close()
		return nil, nil, err
	}
	return sub, func() { sub.Release(); ep.Close() }, nil
}

// begun tells that the host's events follow, and, if they have before, that some are missing.
func (h *siteHost) begun(sub *Subscription) bool {
	if sub.host != "" {
		h.name.Store(&sub.host)
	}
	ok := h.s.put(h.event(HostHere))
	if ok && h.again {
		e := h.event(0)
		e.Event = Event{Kind: Lost}
		ok = h.s.put(e)
	}
	return ok
}

// follow hands events on until ctx ends, and then those that have come.
func (h *siteHost) follow(ctx context.Context, sub *Subscription) error {
	for {
		ev, err := sub.Recv(ctx)
		if err != nil {
			if ctx.Err() != nil && h.s.ctx.Err() == nil {
				h.drain(sub)
			}
			return err
		}
		if !h.put(sub, ev) {
			return connector.ErrClosed
		}
	}
}

// drain hands on what came before the host went.
func (h *siteHost) drain(sub *Subscription) {
	ctx, cancel := context.WithTimeout(h.s.ctx, hostDrain)
	defer cancel()
	for {
		ev, err := sub.Recv(ctx)
		if err != nil || !h.put(sub, ev) {
			return
		}
	}
}

func (h *siteHost) put(sub *Subscription, ev Event) bool {
	e := SiteEvent{Host: h.number, Name: *h.name.Load(), Event: ev, At: time.Now()}
	if ev.Kind != Lost {
		e.At = sub.boot.Add(ev.Time)
	}
	return h.s.put(&e)
}
