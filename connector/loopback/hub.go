package loopback

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Hub is a bus within the process. It needs no closing: with the last Bus on it
// closed, nothing of it runs.
type Hub struct {
	config   Config
	cred     connector.Cred
	start    time.Time // of the histories' clock
	registry *connector.Registry
	stats    stats

	// Locks are taken in this order: Hub.mu, Hub.routes, group.mu, queue.mu. callback.mu is
	// taken under Hub.mu or alone.

	mu        sync.Mutex // guards what follows, and makes changes of ids and members one sequence
	notify    *connector.Notify
	watch     *connector.WatchTable
	watchers  map[uint64]*Watcher
	agents    map[uint32]*Bus // by port
	followers map[uint32]map[*follow]struct{}
	lastPort  uint32
	lastName  uint64 // of a watcher

	routes sync.RWMutex // guards what follows
	ports  map[uint32]*Endpoint
	groups map[uint32]*group
}

// Stats are counts since the Hub was made.
type Stats struct {
	// Late, Duplicate and Foreign replies were not what a call waited for. Foreign
	// ones were delivered as new messages, the others to nobody.
	Late, Duplicate, Foreign uint64
	// Dropped messages were told to their receivers as lost.
	Dropped uint64
	// PostFailed messages of Post could not be delivered.
	PostFailed uint64
	// Panics happened in callbacks.
	Panics uint64
}

type stats struct {
	late, duplicate, foreign, dropped, postFailed, panics atomic.Uint64
}

// New returns a bus with nobody on it. A nil config means the defaults.
func New(config *Config) *Hub {
	h := &Hub{
		config:   config.withDefaults(),
		cred:     connector.Cred{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: uint32(os.Getpid())},
		start:    time.Now(),
		watchers: make(map[uint64]*Watcher),
		agents:   make(map[uint32]*Bus), followers: make(map[uint32]map[*follow]struct{}),
		ports:    make(map[uint32]*Endpoint),
		groups:   make(map[uint32]*group),
		lastPort: 0x10000, // told apart from group numbers and pids at a glance
	}
	h.notify = connector.NewNotify(&connector.NotifyConfig{Requests: h.config.NotifyRequests})
	h.watch = connector.NewWatchTable(h.config.WatchBacklog)
	h.registry = connector.NewRegistry(context.Background(), &connector.RegistryConfig{
		Queue:      h.config.CallbackMessages,
		QueueBytes: h.config.CallbackBytes,
		Panic:      h.panicked,
		Room:       func(e *connector.Entry) { e.Tag().(*callback).hasRoom() },
	})
	return h
}

// Stats returns the counts.
func (h *Hub) Stats() Stats {
	s := &h.stats
	return Stats{
		Late: s.late.Load(), Duplicate: s.duplicate.Load(), Foreign: s.foreign.Load(),
		Dropped: s.dropped.Load(), PostFailed: s.postFailed.Load(), Panics: s.panics.Load(),
	}
}

// Open returns a new handle on the bus, as if another process had connected.
func (h *Hub) Open() *Bus {
	ctx, cancel := context.WithCancel(context.Background())
	b := &Bus{
		hub: h, ctx: ctx, cancel: cancel, finished: make(chan struct{}),
		callbacks: make(map[cbid.ID]*callback), endpoints: make(map[*Endpoint]struct{}), watchers: make(map[*Watcher]struct{}),
		follows: make(map[*follow]struct{}),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b.port = h.newPort()
	h.agents[b.port] = b
	return b
}

func (h *Hub) panicked(e *connector.Entry, value any, stack []byte) {
	h.stats.panics.Add(1)
	info := e.Info()
	h.config.Log.LogAttrs(context.Background(), slog.LevelError, "panic in a callback",
		slog.String("id", fmt.Sprint(info.ID)), slog.String("name", info.Name), slog.Any("panic", value), slog.String("stack", string(stack)))
}

// newPort returns a port that nobody has, mu held.
func (h *Hub) newPort() uint32 {
	for {
		h.lastPort++
		if h.lastPort != 0 && h.endpoint(h.lastPort) == nil && h.agents[h.lastPort] == nil {
			return h.lastPort
		}
	}
}

func (h *Hub) endpoint(port uint32) *Endpoint {
	h.routes.RLock()
	defer h.routes.RUnlock()
	return h.ports[port]
}

func (h *Hub) lookup(id cbid.ID) *callback {
	e := h.registry.Lookup(id)
	if e == nil {
		return nil
	}
	return e.Tag().(*callback)
}

// now is the time of the histories.
func (h *Hub) now() int64 { return int64(time.Since(h.start)) }
