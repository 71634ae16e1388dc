package procevent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// HostChange says what became of a host of the site.
type HostChange uint8

const (
	HostHere    HostChange = iota + 1 // its events follow from here on
	HostUnknown                       // it cannot be reached; HostBack or HostGone follows
	HostBack                          // it can again, and nothing was missed but what is told as Lost
	HostGone                          // it has left, or ended; HostHere may follow
	HostRefused                       // it lets nobody subscribe (Err); it is asked again unless its policy says so
)

// String returns the change in one word.
func (c HostChange) String() string {
	switch c {
	case HostHere:
		return "here"
	case HostUnknown:
		return "unreachable"
	case HostBack:
		return "back"
	case HostGone:
		return "gone"
	case HostRefused:
		return "refused"
	}
	return "none"
}

// SiteEvent is an event of one host of the site, or word of the host.
type SiteEvent struct {
	Host uint32 // number
	Name string

	// Change is what became of the host; 0: Event is one of its events, or the word that some are missing.
	Change HostChange
	Event  Event

	// At is when that was by this host's clock: the other's is not believed, its time since it was started
	// is. It is off by the way there, about.
	At  time.Time
	Err error
}

// MarshalJSON writes an Event's object with the host before it, or what became of the host:
//
//	{"host":"one","host_number":7,"at":"...","event":"exec",...}
//	{"host":"one","host_number":7,"at":"...","change":"gone"}
func (e SiteEvent) MarshalJSON() ([]byte, error) {
	head := struct {
		Host   string    `json:"host"`
		Number uint32    `json:"host_number"`
		At     time.Time `json:"at"`
		Change string    `json:"change,omitempty"`
		Error  string    `json:"error,omitempty"`
	}{Host: e.Name, Number: e.Host, At: e.At}
	if e.Change != 0 {
		head.Change = e.Change.String()
		if e.Err != nil {
			head.Error = e.Err.Error()
		}
		return json.Marshal(head)
	}
	b, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	rest, err := json.Marshal(e.Event)
	if err != nil {
		return nil, err
	}
	return append(append(b[:len(b)-1], ','), rest[1:]...), nil
}

// SiteSubscription receives the process events of all hosts of a site. Recv has one caller at a time.
type SiteSubscription struct {
	bus    connector.Bus
	filter Filter
	out    chan SiteEvent
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	err    error // of the watch; once ended is closed
	ended  chan struct{}

	hosts map[uint32]*siteHost // of the watch's goroutine
	been  map[uint32]bool      // hosts whose events have been followed once
}

// SubscribeSite follows the process events that pass f on every host of the site that offers them, those that come
// later too. The bus is the one of a broker that has joined a site; without, there is no host.
func SubscribeSite(ctx context.Context, bus connector.Bus, f Filter) (*SiteSubscription, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	set := cbid.NewSet(cbid.Rect{Idx: cbid.One(cbid.ProcSiteIdx), Val: cbid.Between(1, connector.MaxHost)})
	w, err := connector.Watch(ctx, bus, set)
	if err != nil {
		return nil, err
	}
	s := &SiteSubscription{
		bus: bus, filter: f, out: make(chan SiteEvent), ended: make(chan struct{}),
		hosts: make(map[uint32]*siteHost), been: make(map[uint32]bool),
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.wg.Go(func() {
		s.err = s.watch(w)
		close(s.ended)
	})
	return s, nil
}

// Recv returns the next event of any host. Those of one host are in their order, and what is missing of them is
// told in its place.
func (s *SiteSubscription) Recv(ctx context.Context) (SiteEvent, error) {
	select {
	case e := <-s.out:
		return e, nil
	case <-ctx.Done():
		return SiteEvent{}, ctx.Err()
	case <-s.ended:
		return SiteEvent{}, s.err
	}
}

// Close ends all subscriptions. The bus stays the caller's.
func (s *SiteSubscription) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

func (s *SiteSubscription) put(e *SiteEvent) bool {
	select {
	case s.out <- *e:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// watch follows which hosts offer events.
func (s *SiteSubscription) watch(w connector.Watcher) error {
	defer w.Close()
	for {
		ch, err := w.Next(s.ctx)
		if err != nil {
			if s.ctx.Err() != nil {
				err = connector.ErrClosed
			}
			return err
		}
		h := s.hosts[ch.Info.ID.Val]
		switch ch.Kind {
		case connector.ChangePresent, connector.ChangeAdded:
			s.here(h, &ch.Info)
		case connector.ChangeUnknown:
			if h != nil {
				s.unknown(h, true)
			}
		case connector.ChangeRemoved:
			if h != nil {
				s.gone(h)
			}
		case connector.ChangeResync:
			for _, h := range s.hosts {
				h.stale = true
			}
		case connector.ChangeMarker:
			for _, h := range s.hosts {
				if h.stale {
					s.gone(h)
				}
			}
		}
	}
}

// here begins to follow a host, unless that is done.
func (s *SiteSubscription) here(h *siteHost, info *connector.IDInfo) {
	if h != nil && h.port != info.Port {
		s.gone(h)
		h = nil
	}
	if h == nil {
		h = &siteHost{s: s, number: info.ID.Val, port: info.Port, gone: make(chan struct{}), again: s.been[info.ID.Val]}
		name := strings.TrimPrefix(info.Name, "proc ")
		h.name.Store(&name)
		s.been[h.number] = true
		s.hosts[h.number] = h
		s.wg.Go(h.run)
	}
	h.stale = false
	s.unknown(h, info.Unknown)
}

func (s *SiteSubscription) unknown(h *siteHost, yes bool) {
	if h.unknown == yes {
		return
	}
	h.unknown = yes
	change := HostBack
	if yes {
		change = HostUnknown
	}
	s.put(h.event(change))
}

// gone ends the following of a host; it tells what it still has, and that.
func (s *SiteSubscription) gone(h *siteHost) {
	delete(s.hosts, h.number)
	close(h.gone)
}

// printable is b as text fit for a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), ""))
}

// isRefusal reports whether asking again is of no use.
func isRefusal(err error) bool {
	return errors.Is(err, connector.ErrPermission) || errors.Is(err, connector.ErrInvalid)
}

func hostError(name string, err error) error {
	return fmt.Errorf("process events of host %s: %w", name, err)
}
