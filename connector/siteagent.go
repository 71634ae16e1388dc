package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cnbus/cnbus/cbid"
)

// SiteAgent offers an agent of one host to the other hosts of a site, under an id that has the host's number in it (docs/hosts.md,
// "Sockets and RxRPC of another host"). Its methods may be called from any goroutine.
type SiteAgent struct {
	Bus  Bus                       // of the agent; its broker is the one that has joined
	Name string                    // of the agent; with that of the host behind it, of the id
	ID   func(host uint32) cbid.ID // of the agent of each host
	Log  *slog.Logger              // hears that another host has taken the id; nil: slog.Default

	mu        sync.Mutex
	self      uint32 // the host's number, once it has been offered
	name      string // of the host
	host      uint32 // as whose it is registered; 0: it is not
	withdrawn bool
	greeting  map[uint32]int // how many GREETINGs are under way, by port
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup
}

// maxGreeting is how many clients at one port are greeted at once.
const maxGreeting = 16

// withdrawTime bounds how long an offer that comes too late is taken back.
const withdrawTime = time.Second

// Offer registers h for all hosts as the agent of host, which has that name. An id of an earlier run, or of who has no right to the
// number, is taken over. What is offered already is not offered again; the errors are those of AddSiteCallback, ErrInvalid for what
// is no number of a host, and ErrClosed after Withdraw.
func (a *SiteAgent) Offer(ctx context.Context, host uint32, name string, h Handler) error {
	if host == 0 || host > MaxHost {
		return fmt.Errorf("%s agent: host number %d, of 1 to %d: %w", a.Name, host, MaxHost, ErrInvalid)
	}
	a.mu.Lock()
	now, withdrawn := a.host, a.withdrawn
	if !withdrawn && now == 0 { // its clients may come before AddSiteCallback returns
		a.self, a.name = host, name
		if a.ctx == nil {
			a.ctx, a.cancel = context.WithCancel(context.Background())
		}
	}
	a.mu.Unlock()
	switch {
	case withdrawn:
		return fmt.Errorf("%s agent: %w", a.Name, ErrClosed)
	case now == host:
		return nil
	case now != 0:
		return fmt.Errorf("%s agent: host number %d, and offered as that of host %d: %w", a.Name, host, now, ErrInvalid)
	}
	opt := SiteOptions{Takeover: true, Changed: func(s SiteState, text string) {
		if s == SiteLost {
			a.log().Error("this host's agent is no longer offered to the site", "agent", a.Name, "host", host, "name", name, "why", text)
		}
	}}
	if err := AddSiteCallback(ctx, a.Bus, a.ID(host), cutName(a.Name+" "+name), h, opt); err != nil {
		return fmt.Errorf("%s agent: %w", a.Name, err)
	}
	a.mu.Lock()
	a.host, withdrawn = host, a.withdrawn
	a.mu.Unlock()
	if withdrawn { // meanwhile
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
		defer cancel()
		_ = a.Withdraw(ctx) // it goes with the bus at the latest
		return fmt.Errorf("%s agent: %w", a.Name, ErrClosed)
	}
	return nil
}

// Withdraw takes the offer back, and refuses every later one.
func (a *SiteAgent) Withdraw(ctx context.Context) error {
	a.mu.Lock()
	host := a.host
	a.host, a.withdrawn = 0, true
	if a.cancel != nil {
		a.cancel()
	}
	a.mu.Unlock()
	a.wg.Wait()
	if host == 0 {
		return nil
	}
	err := a.Bus.DelCallback(ctx, a.ID(host))
	if err != nil && !errors.Is(err, ErrNoID) && !errors.Is(err, ErrClosed) { // with these it is gone
		return fmt.Errorf("%s agent: %w", a.Name, err)
	}
	return nil
}

// Greet tells answer whether the agent may send to port, if that is on another host: there the policy decides, and who may not would
// let a client wait for what never comes. The error says so then, and wraps ErrPermission. greeting is what is sent to find out, by
// which the client does nothing. answer is called once, at once for a client of this host, else by another goroutine, before
// Withdraw returns; greeting must stay as it is until then.
func (a *SiteAgent) Greet(port uint32, greeting Message, answer func(error)) {
	a.mu.Lock()
	far := HostOf(port)
	if far == 0 || a.self == 0 || far == a.self || a.withdrawn {
		a.mu.Unlock()
		answer(nil)
		return
	}
	defer a.mu.Unlock()
	if a.greeting[port] >= maxGreeting {
		a.wg.Go(func() {
			answer(fmt.Errorf("%s agent: %d clients of port %d wait to be greeted: %w", a.Name, maxGreeting, port, ErrLimit))
		})
		return
	}
	if a.greeting == nil {
		a.greeting = make(map[uint32]int)
	}
	a.greeting[port]++
	ctx := a.ctx
	a.wg.Go(func() {
		err := a.Bus.Send(ctx, greeting, Dest{Port: port})
		a.mu.Lock()
		if a.greeting[port]--; a.greeting[port] == 0 {
			delete(a.greeting, port)
		}
		self, name := a.self, a.name
		a.mu.Unlock()
		if !errors.Is(err, ErrPermission) { // what else there is the answer meets too
			answer(nil)
			return
		}
		answer(fmt.Errorf("host %d, which is yours, does not let the %s agent of host %s (number %d) send to its clients: the policy there has to give unicast to who that agent is there, nobody without --host-uids same or a [[host]] (docs/hosts.md): %w",
			far, a.Name, name, self, ErrPermission))
	})
}

func (a *SiteAgent) log() *slog.Logger {
	if a.Log == nil {
		return slog.Default()
	}
	return a.Log
}

// cutName makes a name fit for AddCallback, without cutting a character.
func cutName(s string) string {
	if len(s) <= MaxName {
		return s
	}
	end := MaxName
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
