package natsbridge

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/internal/testenv"
)

// host is a broker with a bridge.
type host struct {
	path   string
	broker *broker.Broker
	bridge *Bridge
	stop   func()
}

const everybody = `
[[rule]]
uid = ["*"]
register = ["*"]
send = ["*"]
join = ["*"]
publish = ["*"]
unicast = true
monitor = true
`

// startHost starts a broker and joins it.
func startHost(t testing.TB, cfg *Config, queue int) *host {
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return startHostAt(t, cfg, queue, filepath.Join(dir, "b.sock"), everybody)
}

// startHostAt is startHost with a socket and a policy.
func startHostAt(t testing.TB, cfg *Config, queue int, path, rules string) *host {
	policy, err := broker.ParsePolicy(rules)
	require.NoError(t, err)
	h := &host{path: path}
	h.broker, err = broker.New(&broker.Config{Socket: h.path, HistoryDir: "-", Drain: time.Second, QueueBytes: queue, Policy: policy, Log: quiet})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.broker.Serve(ctx) }()
	joined, end := context.WithTimeout(context.Background(), 2*time.Minute)
	defer end()
	h.bridge, err = Join(joined, h.broker, cfg)
	if err != nil {
		cancel()
		<-done
		require.NoError(t, err)
	}
	h.stop = sync.OnceFunc(func() {
		ctx, end := context.WithTimeout(context.Background(), 2*time.Minute)
		defer end()
		assert.NoError(t, h.bridge.Close(ctx))
		cancel()
		assert.NoError(t, <-done)
	})
	return h
}

func (h *host) dial(t testing.TB, name string) connector.Bus {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	b, err := client.Dial(ctx, &client.Config{Socket: h.path, Name: name, Logger: quiet, DialTimeout: 2 * time.Minute})
	require.NoError(t, err)
	return b
}

// testLease is for hosts that all live: half of it may pass in which a busy machine lets one of them do nothing.
const testLease = 30 * time.Second

func config(e *Embedded, i int) *Config {
	return &Config{Host: fmt.Sprintf("host%d", i), Server: e, SameUsers: true, Lease: testLease, Log: quiet}
}

// meet returns when each of the hosts can reach the others: Join does not wait for that for long.
func meet(t testing.TB, hosts ...*host) {
	t.Helper()
	for _, h := range hosts {
		for _, other := range hosts {
			require.Eventually(t, func() bool {
				rows, err := h.bridge.Hosts(t.Context())
				return h == other || err == nil && slices.ContainsFunc(rows[1:], func(r HostRow) bool {
					return r.Number == other.bridge.Number() && r.State == "reachable" && r.Name != ""
				})
			}, 2*time.Minute, time.Millisecond)
		}
	}
}

// TestThinPath: an agent registered site-wide on one host is called from the other; the reply's genealogy is
// that of one host.
func TestThinPath(t *testing.T) {
	before := goleak.IgnoreCurrent()
	func() {
		e, err := StartEmbedded(EmbeddedConfig{Name: "test", Store: t.TempDir(), Log: quiet})
		require.NoError(t, err)
		defer e.Close()
		a, b := startHost(t, config(e, 1), 0), startHost(t, config(e, 2), 0)
		defer a.stop()
		defer b.stop()
		meet(t, a, b)
		agent, caller := a.dial(t, "agent"), b.dial(t, "caller")
		defer agent.Close()
		defer caller.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()

		id := cbid.Make(0x200, 1)
		var from connector.From
		var asked connector.Message
		h := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
			from, asked = d.From, d.Msg.Clone()
			assert.NoError(t, d.Reply(ctx, append([]byte("re: "), d.Msg.Data...)))
		})
		require.NoError(t, connector.AddSiteCallback(ctx, agent, id, "thin", h, connector.SiteOptions{}))
		ep, err := caller.Endpoint(ctx)
		require.NoError(t, err)
		ev, err := ep.Call(ctx, connector.Message{ID: id, Data: []byte("hello")}, connector.Dest{})
		require.NoError(t, err)
		assert.Equal(t, "re: hello", string(ev.Msg.Data))
		assert.Equal(t, asked.Seq, ev.Msg.Seq)
		assert.Equal(t, asked.Ack+1, ev.Msg.Ack)
		assert.Equal(t, b.bridge.Number(), connector.HostOf(from.Port))
		assert.Equal(t, ep.Port(), from.Port)
		assert.Equal(t, uint32(os.Getpid()), from.Cred.PID)
		assert.Equal(t, a.bridge.Number(), connector.HostOf(ev.From.Port))
		require.NoError(t, agent.DelCallback(ctx, id))
		_, err = ep.Call(ctx, connector.Message{ID: id}, connector.Dest{})
		assert.ErrorIs(t, err, connector.ErrNoID, "who removes an id is answered when every host knows")
	}()
	testenv.NoLeaks(t, before)
}

// siteOfHosts is a bus of several hosts for the conformance suite: each handle is on the next one.
type siteOfHosts struct {
	name  string
	free  *[]string
	hosts []*host
	mu    sync.Mutex // guards next
	next  int
}

func (s *siteOfHosts) Bus(t testing.TB, opt bustest.BusOptions) connector.Bus {
	s.mu.Lock()
	h := s.hosts[s.next%len(s.hosts)]
	s.next++
	s.mu.Unlock()
	return h.dial(t, opt.Name)
}

func (s *siteOfHosts) Close() {
	for _, h := range s.hosts {
		h.stop()
	}
	*s.free = append(*s.free, s.name)
}

// TestBus: two hosts are a bus as one is. What a history keeps stays on its host, and so do limits.
func TestBus(t *testing.T) {
	e := startServer(t)
	names := []string{"a", "b"} // of sites that are free: some tests have two at a time
	for _, name := range names {
		cfg := config(e, 0)
		cfg.Site = name
		startHost(t, cfg, 0).stop() // the server has what it needs for the store from here on
	}
	caps := bustest.All()
	caps.History, caps.Limits = false, false
	bustest.Run(t, bustest.Carrier{Name: "natsbridge", Caps: caps, Flood: 800, Patience: 2 * time.Minute, New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		s := &siteOfHosts{free: &names, name: names[0]}
		names = names[1:]
		queue := 0
		if opt.Small {
			queue = 64 << 10
		}
		for i := range 2 {
			cfg := config(e, i)
			cfg.Site = s.name
			cfg.SiteWide = func(cbid.ID) bool { return true }
			cfg.Local = func(uint32) bool { return false }
			s.hosts = append(s.hosts, startHost(t, cfg, queue))
		}
		meet(t, s.hosts...)
		return s
	}})
}

// siteOfStore is a siteOfHosts with a server of its own.
type siteOfStore struct {
	siteOfHosts
	e *Embedded
}

func (s *siteOfStore) Close() {
	for _, h := range s.hosts {
		h.stop()
	}
	s.e.Close()
}

// TestDurableHistories: what the suite asks of a history that is kept by a broker holds for one that the store keeps, for members on
// both hosts.
func TestDurableHistories(t *testing.T) {
	bustest.RunDurable(t, bustest.Carrier{Name: "natsbridge, durable", Caps: bustest.All(), Flood: 200, Patience: 2 * time.Minute, New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		s := &siteOfStore{e: startServer(t)}
		queue := 0
		if opt.Small {
			queue = 64 << 10
		}
		for i := range 2 {
			cfg := config(s.e, i)
			cfg.Local = func(uint32) bool { return false }
			s.hosts = append(s.hosts, startHost(t, cfg, queue))
		}
		meet(t, s.hosts...)
		return s
	}})
}
