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
	host      uint32 // as whose it is registered; 0: it is not
	withdrawn bool
}

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
			a.log().Error("another host offers this one's agent", "agent", a.Name, "host", host, "name", name, "why", text)
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
	a.mu.Unlock()
	if host == 0 {
		return nil
	}
	err := a.Bus.DelCallback(ctx, a.ID(host))
	if err != nil && !errors.Is(err, ErrNoID) && !errors.Is(err, ErrClosed) { // with these it is gone
		return fmt.Errorf("%s agent: %w", a.Name, err)
	}
	return nil
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
