package procevent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// AgentConfig says how an Agent works. A zero field means its default.
type AgentConfig struct {
	// Client says how the kernel is subscribed to. Its Kinds and Enrich are not used.
	Client Config

	// Authorize is asked about each request with a filter, and about LISTEN with the
	// zero Filter. It returns the filter to use instead, for example one with the asker's user id
	// added, or an error, which the asker is told as EPERM. For LISTEN, whose events all
	// members of group 1 share, another filter than the zero one refuses too. Who may be a member of
	// group 1, and of which filter's group, is the bus's policy to say. Nil allows everything.
	Authorize func(who connector.Cred, f Filter) (Filter, error)

	// Grace is how long a filter that nobody listens to is kept after it was asked for, or
	// since the last listener went. Default 10 s.
	Grace time.Duration

	// SiteNames has the events for other hosts (Agent.Site) carry the arguments of their processes, which are not to be
	// had there otherwise. Everybody who gets the events gets them: do not set it where /proc hides them from users.
	SiteNames bool

	// MaxFilters bounds the filters that exist at a time, MaxUserFilters those
	// of one user. Defaults 256 and 64.
	MaxFilters, MaxUserFilters int

	// Logger is told of what the agent cannot tell anybody else. Default slog.Default.
	Logger *slog.Logger

	dial func(context.Context, Config) (*Client, error)
	root string
}

func (c *AgentConfig) withDefaults() AgentConfig {
	var d AgentConfig
	if c != nil {
		d = *c
	}
	d.Client.Kinds, d.Client.Enrich = 0, 0
	def(&d.Grace, 10*time.Second)
	def(&d.MaxFilters, 256)
	def(&d.MaxUserFilters, 64)
	def(&d.Logger, slog.Default())
	def(&d.root, "/proc")
	if d.dial == nil {
		d.dial = func(ctx context.Context, c Config) (*Client, error) { return Dial(ctx, &c) }
	}
	return d
}

// Agent shares one subscription to the kernel's process events among any number
// of subscribers on a bus. See the package comment for its protocol.
//
// One goroutine owns the subscription, the filters and what is known of the
// processes; everybody else hands it functions to run.
type Agent struct {
	cfg  AgentConfig
	bus  connector.Bus
	site connector.SiteAgent
	send func(ctx context.Context, m connector.Message, to connector.Dest) error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards cmds, client and closed
	cmds   []func()
	client *Client // set by the loop; others may put a wake-up in its queue
	closed bool
	woken  chan struct{} // capacity 1

	loop loopState
}

// loopState belongs to the goroutine that runs Agent.run.
type loopState struct {
	unfiltered bool // somebody is a member of group 1
	filters    map[string]*filterGroup
	sending    []*filterGroup // those with listeners, in the order of their numbers
	nextGroup  uint32
	host       uint32 // number in the site; 0: Agent.Site was not called
	nextSite   uint32

	tracker  *tracker // while some filter asks for more than events tell
	scanning *job
	names    *enricher // while somebody on the site listens, with SiteNames

	dialErr error
	retryAt time.Time
	backoff time.Duration

	buf   [Size]byte
	site  []byte // the event for other hosts
	stats AgentStats
}

// AgentStats counts what an Agent did.
type AgentStats struct {
	Active     bool   // the kernel is subscribed to
	Filters    int    // that exist
	Events     uint64 // from the kernel
	Sent       uint64 // messages to group 1 and to filters' groups
	Failed     uint64 // messages that the bus refused
	Lost       uint64 // events missing in the kernel
	Unresolved uint64 // events that a filter could not judge, told as lost
	Refused    uint64 // requests
	Kernel     Ledger // of the present subscription
}

// NewAgent registers the agent on bus as "proc", id 1:1. The bus stays the caller's.
func NewAgent(ctx context.Context, bus connector.Bus, cfg *AgentConfig) (*Agent, error) {
	a := &Agent{cfg: cfg.withDefaults(), bus: bus, send: bus.Send, woken: make(chan struct{}, 1)}
	a.site = connector.SiteAgent{Bus: bus, Name: "proc", ID: SiteID, Log: a.cfg.Logger}
	if p, ok := bus.(connector.Poster); ok {
		a.send = p.Post
	}
	a.loop.filters = make(map[string]*filterGroup)
	// Not always the same, so that those who listened to a filter of an agent before this one are
	// not given another's events.
	a.loop.nextGroup = FirstFilterGroup + rand.Uint32N(FirstSiteGroup-FirstFilterGroup)
	a.loop.nextSite = rand.Uint32N(siteGroups)
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.wg.Go(a.run)
	if err := bus.AddCallback(ctx, ID, "proc", (*procHandler)(a)); err != nil {
		a.stop()
		return nil, fmt.Errorf("proc agent: %w", err)
	}
	return a, nil
}

// Close removes the agent's registrations and ends the kernel subscription.
func (a *Agent) Close() error {
	err := a.del(ID)
	a.stop()
	ctx, cancel := context.WithTimeout(context.Background(), delPatience)
	defer cancel()
	err = errors.Join(err, a.site.Withdraw(ctx))
	for _, g := range a.loop.filters {
		err = errors.Join(err, a.del(g.id()))
	}
	clear(a.loop.filters)
	return err
}

func (a *Agent) stop() {
	a.cancel()
	a.wg.Wait()
}

// Stats returns the counts of now.
func (a *Agent) Stats() AgentStats {
	var s AgentStats
	if a.do(context.Background(), func() {
		s = a.loop.stats
		s.Filters = len(a.loop.filters)
		if c := a.client; c != nil {
			s.Active, s.Kernel = true, c.Ledger()
		}
	}) != nil {
		a.wg.Wait()
		s = a.loop.stats
	}
	return s
}

// kindWake is no event: it makes a loop that waits for one look at what it was handed.
const kindWake Kind = 0x00800001

// hand gives the loop something to do; false when it has ended.
func (a *Agent) hand(f func()) bool {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return false
	}
	a.cmds = append(a.cmds, f)
	c := a.client
	a.mu.Unlock()
	wake(a.woken)
	if c != nil {
		c.q.put([]Event{{Kind: kindWake}})
	}
	return true
}

// do has the loop run f and waits for it.
func (a *Agent) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	if !a.hand(func() { f(); close(done) }) {
		return connector.ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.ctx.Done():
		return connector.ErrClosed
	}
}

// run is the loop.
func (a *Agent) run() {
	defer a.end()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for a.ctx.Err() == nil {
		a.runCmds()
		a.settle()
		if a.client == nil {
			retry.Reset(max(time.Until(a.loop.retryAt), time.Millisecond))
			if !a.wanted() {
				retry.Stop()
			}
			select {
			case <-a.woken:
			case <-retry.C:
			case <-a.ctx.Done():
			}
			continue
		}
		if !a.handed() {
			a.follow(a.client)
		}
	}
}

// handed reports whether there is something to do that came before the client did, whose
// queue it therefore did not wake.
func (a *Agent) handed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.cmds) > 0
}

// follow hands on events until there is something else to do.
func (a *Agent) follow(c *Client) {
	for {
		e, err := c.q.pop(a.ctx)
		switch {
		case err != nil && a.ctx.Err() == nil:
			a.cfg.Logger.Error("process events ended", "error", err)
			a.hangUp()
			a.dispatch(&Event{Kind: Lost})
			return
		case err != nil, e.Kind == kindWake:
			return
		}
		a.dispatch(e)
	}
}

func (a *Agent) runCmds() {
	a.mu.Lock()
	cmds := a.cmds
	a.cmds = nil
	a.mu.Unlock()
	for _, f := range cmds {
		f()
	}
}

// wanted reports whether anybody listens.
func (a *Agent) wanted() bool { return a.loop.unfiltered || len(a.loop.sending) > 0 }

// settle makes the kernel subscription be there exactly while somebody listens.
func (a *Agent) settle() {
	switch {
	case !a.wanted() && a.client != nil:
		a.hangUp()
	case a.wanted() && a.client == nil && !time.Now().Before(a.loop.retryAt):
		c, err := a.cfg.dial(a.ctx, a.cfg.Client)
		a.loop.dialErr = err
		if err != nil {
			a.loop.backoff = min(max(2*a.loop.backoff, time.Second), time.Minute)
			a.loop.retryAt = time.Now().Add(a.loop.backoff)
			a.cfg.Logger.Error("cannot subscribe to process events", "error", err, "again", a.loop.backoff)
			return
		}
		a.loop.backoff = 0
		a.setClient(c)
	}
	a.settleTracker()
	a.settleNames()
}

func (a *Agent) setClient(c *Client) {
	a.mu.Lock()
	a.client = c
	a.mu.Unlock()
}

func (a *Agent) hangUp() {
	c := a.client
	a.setClient(nil)
	if err := c.Close(); err != nil {
		a.cfg.Logger.Warn("taking back the subscription to process events", "error", err)
	}
	a.settleNames()
	if t := a.loop.tracker; t != nil { // what it knows grows old now
		a.loop.tracker, a.loop.scanning = nil, nil
		t.close()
		for _, g := range a.loop.sending {
			if g.isReady {
				g.isReady, g.ready = false, make(chan struct{})
			}
		}
	}
}

// end runs when the loop does.
func (a *Agent) end() {
	a.mu.Lock()
	a.closed = true
	a.cmds = nil
	a.mu.Unlock()
	if a.client != nil {
		a.hangUp()
	}
	for _, g := range a.loop.filters {
		g.grace.Stop()
	}
}
