package procevent

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// hostBus is the bus of one host where all hosts of the test are on one hub: what is registered for the site is
// registered there, and 1:1, which each host has for itself, is not.
type hostBus struct{ *loopback.Bus }

func (b hostBus) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	if id == ID {
		return nil
	}
	return b.Bus.AddCallback(ctx, id, name, h)
}

func (b hostBus) AddSiteCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler, _ connector.SiteOptions) error {
	return b.AddCallback(ctx, id, name, h)
}

// siteBench is some hosts, each with a kernel, and somebody who listens to all.
type siteBench struct {
	*testing.T
	hub   *loopback.Hub
	hosts map[uint32]*benchHost
	bus   *loopback.Bus
	sub   *SiteSubscription
}

type benchHost struct {
	k     fakeKernel
	bus   *loopback.Bus
	agent *Agent
	root  string
}

func onSite(t *testing.T, f func(b *siteBench)) {
	t.Helper()
	roots := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	runtime.GC() // as onBench has it
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		b := &siteBench{T: t, hub: loopback.New(nil), hosts: make(map[uint32]*benchHost)}
		for n := range uint32(2) {
			b.hosts[n+1] = &benchHost{root: roots[n]}
		}
		b.bus = b.hub.Open()
		f(b)
		if b.sub != nil {
			require.NoError(t, b.sub.Close())
		}
		require.NoError(t, b.bus.Close())
		for _, h := range b.hosts {
			h.close(t)
			assert.Zero(t, h.k.count(), "the kernel's count of listeners")
		}
	})
}

// start starts the agent of host n under that name.
func (b *siteBench) start(n uint32, name string, cfg AgentConfig) {
	b.Helper()
	h := b.hosts[n]
	h.bus = b.hub.Open()
	cfg.root, cfg.SiteNames, cfg.Logger = h.root, true, slog.New(slog.DiscardHandler)
	if cfg.dial == nil {
		cfg.dial = h.k.dial
	}
	var err error
	h.agent, err = NewAgent(b.Context(), hostBus{h.bus}, &cfg)
	require.NoError(b, err)
	require.NoError(b, h.agent.Site(b.Context(), n, name))
}

func (h *benchHost) close(t *testing.T) {
	if h.agent != nil {
		require.NoError(t, h.agent.Close())
		require.NoError(t, h.bus.Close())
		h.agent = nil
	}
}

func (b *siteBench) follow(f Filter) {
	b.Helper()
	var err error
	b.sub, err = SubscribeSite(b.Context(), b.bus, f)
	require.NoError(b, err)
}

func (b *siteBench) next() SiteEvent {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	e, err := b.sub.Recv(ctx)
	require.NoError(b, err)
	return e
}

// word is the next word of a host.
func (b *siteBench) word(name string, c HostChange) {
	b.Helper()
	e := b.next()
	assert.Equal(b, c, e.Change, "%+v", e)
	assert.Equal(b, name, e.Name)
}

// The events of two hosts come with their hosts' names, arguments and times, and nobody's kernel is asked for
// nothing; a host that goes and comes back is told, with the gap.
func TestSiteFollowsAllHosts(t *testing.T) {
	onSite(t, func(b *siteBench) {
		for n, h := range b.hosts {
			dir := filepath.Join(h.root, "7")
			require.NoError(t, os.MkdirAll(dir, 0o755))
			for name, text := range map[string]string{"stat": "7 (a) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0\n", "cmdline": "prog\x00of" + strconv.Itoa(int(n)) + "\x00"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
		}
		b.start(1, "one", AgentConfig{})
		b.follow(Filter{})
		b.word("one", HostHere)
		b.start(2, "two", AgentConfig{})
		b.word("two", HostHere)
		for n, h := range b.hosts {
			assert.Equal(t, 1, h.k.count(), "host %d", n)
		}
		at := sinceBoot()
		for _, n := range []uint32{1, 2} {
			e := exec1(7)
			e.Time = at
			b.hosts[n].k.emit(n-1, e)
			got := b.next()
			assert.Equal(t, n, got.Host)
			assert.Equal(t, n-1, got.Event.CPU)
			assert.Equal(t, Exec, got.Event.Kind)
			assert.EqualValues(t, 7, got.Event.Tgid)
			require.NotNil(t, got.Event.Info)
			assert.Equal(t, []string{"prog", "of" + strconv.Itoa(int(n))}, got.Event.Info.Cmdline)
			assert.WithinDuration(t, time.Now(), got.At, 5*time.Minute)
		}
		b.hosts[2].close(t)
		b.word("two", HostGone)
		b.hosts[1].k.emit(0, exec1(8))
		assert.EqualValues(t, 8, b.next().Event.Tgid)
		b.start(2, "two", AgentConfig{})
		b.word("two", HostHere)
		lost := b.next()
		assert.Equal(t, SiteEvent{Host: 2, Name: "two", Event: Event{Kind: Lost}, At: lost.At}, lost)
		require.NoError(t, b.sub.Close())
		synctest.Wait()
		for n, h := range b.hosts {
			assert.Zero(t, h.k.count(), "host %d: nobody listens", n)
		}
	})
}

// What the kernel of one host drops is told for that host, at its place, by its number; with a filter as a bound.
func TestSiteTellsLossOfItsHost(t *testing.T) {
	for _, filter := range []Filter{{}, {Kinds: MaskOf(Exec)}} {
		onSite(t, func(b *siteBench) {
			k := &b.hosts[1].k
			cfg := AgentConfig{Client: Config{Queue: 1, Probe: -1, MaxReadBuffer: -1}}
			cfg.dial = func(ctx context.Context, c Config) (*Client, error) {
				full, err := c.withDefaults()
				if err != nil {
					return nil, err
				}
				return newClient(ctx, full, k.open(20))
			}
			b.start(1, "one", cfg)
			b.start(2, "two", AgentConfig{})
			b.follow(filter)
			b.next()
			b.next()
			k.mu.Lock()
			for pid := range uint32(50) {
				k.send(0, exec1(pid), 0)
			}
			k.mu.Unlock()
			for pid := range uint32(20) {
				assert.Equal(t, pid, b.next().Event.Pid)
			}
			e := b.next()
			assert.EqualValues(t, 1, e.Host)
			assert.Equal(t, Event{Kind: Lost, Count: 30, Exact: filter.IsZero()}, e.Event)
		})
	}
}

// Equal filters of the site share a group of their host's own numbers, which are no other's.
func TestSiteGroupsAreOfTheirHost(t *testing.T) {
	onSite(t, func(b *siteBench) {
		b.start(1, "one", AgentConfig{})
		b.start(2, "two", AgentConfig{})
		groups := make(map[uint32]uint32)
		for _, host := range []uint32{1, 2, 1} {
			ep, err := b.bus.Endpoint(b.Context())
			require.NoError(t, err)
			s, err := SubscribeHost(b.Context(), ep, host, Filter{})
			require.NoError(t, err)
			defer s.Release()
			if g := groups[host]; g != 0 {
				assert.Equal(t, g, s.Group())
			}
			groups[host] = s.Group()
			assert.Equal(t, host, (s.Group()-FirstSiteGroup)/siteGroups)
			assert.False(t, StaysHome(s.Group()))
			assert.False(t, s.Boot().IsZero())
		}
		assert.True(t, StaysHome(Group))
		assert.True(t, StaysHome(FirstFilterGroup))
	})
}

// A host that refuses is told, and is not asked again; the others go on.
func TestSiteToldOfRefusal(t *testing.T) {
	onSite(t, func(b *siteBench) {
		asked := 0
		b.start(1, "one", AgentConfig{Authorize: func(connector.Cred, Filter) (Filter, error) {
			asked++
			return Filter{}, connector.ErrPermission
		}})
		b.follow(Filter{})
		e := b.next()
		assert.Equal(t, HostRefused, e.Change)
		assert.ErrorIs(t, e.Err, connector.ErrPermission)
		b.start(2, "two", AgentConfig{})
		b.word("two", HostHere)
		ctx, cancel := context.WithTimeout(b.Context(), 10*hostAgain)
		defer cancel()
		_, err := b.sub.Recv(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, asked)
		out, err := json.Marshal(e)
		require.NoError(t, err)
		assert.Regexp(t, `^\{"host":"one","host_number":1,"at":"[^"]+","change":"refused","error":"process events of host one: .*not permitted by policy`, string(out))
	})
}

// One whose kernel is not to be had for a while is asked again.
func TestSiteAsksAgain(t *testing.T) {
	onSite(t, func(b *siteBench) {
		h := b.hosts[1]
		var fails atomic.Bool
		fails.Store(true)
		b.start(1, "one", AgentConfig{dial: func(ctx context.Context, c Config) (*Client, error) {
			if fails.Load() {
				return nil, ErrSilent
			}
			return h.k.dial(ctx, c)
		}})
		b.follow(Filter{})
		assert.Equal(t, HostRefused, b.next().Change)
		fails.Store(false)
		for {
			e := b.next()
			if e.Change == HostHere {
				break
			}
			assert.Equal(t, HostRefused, e.Change)
		}
	})
}

// What is no SUBSCRIBE is refused on the site, and so is what the kernel's programs send.
func TestSiteRefusesOtherRequests(t *testing.T) {
	onSite(t, func(b *siteBench) {
		b.start(1, "one", AgentConfig{})
		ep, err := b.bus.Endpoint(b.Context())
		require.NoError(t, err)
		for _, data := range [][]byte{nil, {1, 0, 0, 0}, {2, 0, 0, 0}, {1, 1, 0, 0}, make([]byte, 9000)} {
			r, err := ep.Call(b.Context(), connector.Message{ID: SiteID(1), Data: data}, connector.Dest{})
			require.NoError(t, err)
			errno, _, err := parseAnswer(r.Msg.Data, siteOrder)
			require.NoError(t, err)
			assert.EqualValues(t, 22, errno, "%x", data)
		}
		assert.ErrorIs(t, b.hosts[1].agent.Site(b.Context(), 0, "x"), connector.ErrInvalid)
	})
}

func TestSiteEventJSON(t *testing.T) {
	e := SiteEvent{Host: 7, Name: "one", At: time.Unix(0, 0).UTC(), Event: Event{Kind: Exec, Pid: 5, Tgid: 5}}
	b, err := json.Marshal(e)
	require.NoError(t, err)
	assert.JSONEq(t, `{"host":"one","host_number":7,"at":"1970-01-01T00:00:00Z","event":"exec","pid":5,"tgid":5,"cpu":0,"seq":0,"time_ns":0}`, string(b))
}

func TestAppendArgs(t *testing.T) {
	assert.Equal(t, "a\x00b", string(appendArgs(nil, []string{"a", "b"})))
	assert.Len(t, appendArgs([]byte("x"), []string{string(make([]byte, 400)), string(make([]byte, 400))}), 1+maxSiteArg)
	assert.Empty(t, appendArgs(nil, nil))
}
