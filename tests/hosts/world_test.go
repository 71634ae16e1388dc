//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// patience is how long anything that must come is waited for, on a machine with other things to do.
const patience = 2 * time.Minute

// world is a bridge with namespaces at it. Several may be at a time.
type world struct {
	t       testing.TB // of the scenario that runs
	root    *testing.T // of the world: what is started lives as long as it
	k       int        // no other world has it
	dir     string
	hosts   []*host
	server  *process
	ns      *process // of the server
	buses   []*client.Bus
	owners  map[cbid.ID]string // the hosts of the ids that are registered for the site
	streams []string           // of durable groups
	base    []figures          // of the hosts, and of the server: see leaks_test.go
}

var worlds atomic.Int32

// host is a network namespace with a broker in it.
type host struct {
	w      *world
	n      int
	ns     *process
	broker *process
	cfg    brokerConfig
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	name, err := exec.LookPath("ip")
	if err != nil {
		name = "/sbin/ip"
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
}

func (w *world) addr(n int) string { return fmt.Sprintf("10.98.%d.%d", w.k, n) }

// outside is the address of the test itself.
const outside = 254

// newWorld makes a bridge. The test runs beside others from here on.
func newWorld(t *testing.T) *world {
	rig.World(t)
	t.Parallel()
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, root: t, k: int(worlds.Add(1)), dir: dir, owners: make(map[cbid.ID]string)}
	br := w.device("br")
	ip(t, "link", "add", br, "type", "bridge")
	t.Cleanup(func() { ip(t, "link", "del", br) })
	ip(t, "link", "set", br, "up")
	ip(t, "addr", "add", w.addr(outside)+"/24", "dev", br)
	return w
}

func (w *world) device(name string) string { return fmt.Sprintf("w%d%s", w.k, name) }

func (w *world) port(n int) string { return w.device(fmt.Sprintf("h%d", n)) }

// scenario is a subtest after which nothing is left of what it has used.
func (w *world) scenario(name string, f func(t *testing.T)) {
	w.root.Helper()
	w.root.Run(name, func(t *testing.T) {
		if w.root.Failed() {
			t.Fatal("not run: the world is not what it should be after the scenario before")
		}
		before, owners := w.buses, w.owners
		w.t, w.buses, w.owners = t, nil, maps.Clone(owners)
		defer func() { w.t, w.buses, w.owners = w.root, before, owners }()
		f(t)
		for _, b := range w.buses {
			assert.NoError(t, b.Close())
		}
		w.buses, w.owners = nil, owners
		w.nothingLeaks()
	})
}

// namespace makes one that is joined to the bridge under the address n.
func (w *world) namespace(n int) *process {
	p := play(w.root, "holder", nil, nil)
	dev := w.port(n)
	ip(w.t, "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(p.cmd.Process.Pid))
	ip(w.t, "link", "set", dev, "master", w.device("br"), "up")
	p.within("ip", "addr", "add", w.addr(n)+"/24", "dev", "eth0")
	p.within("ip", "link", "set", "eth0", "up")
	p.within("ip", "link", "set", "lo", "up")
	return p
}

// within runs a command in the network namespace of p.
func (p *process) within(args ...string) {
	p.t.Helper()
	cmd := exec.Command("nsenter", append([]string{p.net()}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	require.NoError(p.t, err, "%v: %s", args, out)
}

// net is nsenter's option for the network namespace of p.
func (p *process) net() string { return "--net=/proc/" + fmt.Sprint(p.cmd.Process.Pid) + "/ns/net" }

// link cuts the namespace n off, or joins it again.
func (w *world) link(n int, up bool) {
	state := "down"
	if up {
		state = "up"
	}
	ip(w.t, "link", "set", w.port(n), state)
}

const serverAt = 100

// serve starts the NATS server; again with what it has stored.
func (w *world) serve() {
	if w.ns == nil {
		w.ns = w.namespace(serverAt)
	}
	w.server = play(w.root, "server", []string{"-js", "-n", "nats", "-a", w.addr(serverAt), "-p", "4222", "-m", fmt.Sprint(monitorPort), "-sd", filepath.Join(w.dir, "nats")}, w.ns)
}

const monitorPort = 8222

// storeURL is a NATS server with the site's store.
func (w *world) storeURL() string {
	if w.server != nil {
		return w.url()
	}
	return "nats://" + w.addr(1) + ":4222"
}

func (w *world) url() string { return "nats://" + w.addr(serverAt) + ":4222" }

// add makes a host; begin starts its broker.
func (w *world) add() *host {
	h := &host{w: w, n: len(w.hosts) + 1}
	h.ns = w.namespace(h.n)
	h.cfg = brokerConfig{Socket: filepath.Join(w.dir, fmt.Sprintf("%d.sock", h.n)), Name: fmt.Sprintf("host%d", h.n), URL: w.url(), Lease: lease}
	w.hosts = append(w.hosts, h)
	return h
}

func (h *host) begin() { h.broker = begin(h.w.root, "broker", h.cfg, h.ns) }

// start makes n hosts whose brokers have joined.
func (w *world) start(n int) {
	for range n {
		w.add()
	}
	w.begin()
}

// begin starts the brokers of all hosts and waits until they see each other.
func (w *world) begin() {
	for _, h := range w.hosts {
		h.begin()
	}
	for _, h := range w.hosts {
		h.broker.ready()
	}
	w.settled()
}

// settled waits until every host sees every other.
func (w *world) settled() {
	w.t.Helper()
	for _, h := range w.hosts {
		h.await("all hosts are reachable", func(rows []natsbridge.HostRow) bool {
			seen := 0
			for _, r := range rows {
				if r.State == "reachable" || r.State == "self" {
					seen++
				}
			}
			return seen == len(w.hosts)
		})
	}
}

func (h *host) dial(name string) *client.Bus {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := client.Dial(ctx, &client.Config{Socket: h.cfg.Socket, Name: name, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(h.w.t, err)
	h.w.root.Cleanup(func() { _ = b.Close() })
	h.w.buses = append(h.w.buses, b)
	return b
}

func (h *host) endpoint() connector.Endpoint {
	h.w.t.Helper()
	ep, err := h.dial("endpoint").Endpoint(context.Background())
	require.NoError(h.w.t, err)
	return ep
}

// hangUp closes the bus that was dialled last.
func (h *host) hangUp() {
	h.w.t.Helper()
	last := len(h.w.buses) - 1
	assert.NoError(h.w.t, h.w.buses[last].Close())
	h.w.buses = h.w.buses[:last]
}

// await waits until the broker sees the hosts so.
func (h *host) await(what string, ok func([]natsbridge.HostRow) bool) {
	h.w.t.Helper()
	ep := h.endpoint()
	defer h.hangUp()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		rows, err := natsbridge.QueryHosts(ctx, ep)
		require.NoError(h.w.t, err, "%s", what)
		if ok(rows) {
			return
		}
		h.w.pause(ctx, what+fmt.Sprintf(": %+v", rows))
	}
}

// pause is between two looks at what another process brings about.
func (w *world) pause(ctx context.Context, what string) {
	w.t.Helper()
	select {
	case <-ctx.Done():
		require.FailNow(w.t, "never came about", what)
	case <-time.After(20 * time.Millisecond):
	}
}

// register registers an id for the site, with an agent that answers with the host's name. Where servers choose a leader a host may
// have no contact for a moment: it is tried again.
func (h *host) register(id cbid.ID) error {
	h.w.t.Helper()
	_, err := h.registerTold(id)
	return err
}

// told is what an agent was told of its registration.
type told struct {
	state connector.SiteState
	text  string
}

// registerTold is register, and returns what becomes of the registration.
func (h *host) registerTold(id cbid.ID) (<-chan told, error) {
	h.w.t.Helper()
	var states <-chan told
	err := h.inContact(func() (err error) {
		states, err = h.registerOnce(id)
		return err
	})
	return states, err
}

// inContact tries f again while it fails because the host has no contact to the site.
func (h *host) inContact(f func() error) error {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := f()
		if !errors.Is(err, connector.ErrInterrupted) {
			return err
		}
		h.w.pause(ctx, "the host has contact: "+err.Error())
	}
}

func (h *host) registerOnce(id cbid.ID) (<-chan told, error) {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := []byte(h.cfg.Name)
	states := make(chan told, 64)
	err := connector.AddSiteCallback(ctx, h.dial("agent"), id, "agent", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, name) // the caller may be gone
	}), connector.SiteOptions{Changed: func(state connector.SiteState, text string) { states <- told{state, text} }})
	if err != nil {
		h.hangUp()
		return nil, err
	}
	h.w.owners[id] = h.cfg.Name
	return states, nil
}

// next waits until an agent is told that state of its registration, in words that have text in them.
func (w *world) next(states <-chan told, state connector.SiteState, text string) {
	w.t.Helper()
	var before []told
	late := time.After(patience)
	for {
		select {
		case s := <-states:
			if s.state == state && strings.Contains(s.text, text) {
				return
			}
			before = append(before, s)
		case <-late:
			require.FailNow(w.t, "never told", "%v %q; told was %v", state, text, before)
		}
	}
}

// answers waits until want is who answers when id is called from h.
func (h *host) answers(id cbid.ID, want string) {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ep := h.endpoint()
	defer h.hangUp()
	for {
		who, err := ask(ep, id)
		if err == nil && who == want {
			return
		}
		h.w.pause(ctx, fmt.Sprintf("%s asks %v, which is %s's: %q, %v", h.cfg.Name, id, want, who, err))
	}
}

// ask calls id and returns who answered.
func ask(ep connector.Endpoint, id cbid.ID) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ev, err := ep.Call(ctx, connector.Message{ID: id}, connector.Dest{})
	return string(ev.Msg.Data), err
}

// embedded is the configuration of the NATS server within the broker of host n of three.
func (w *world) embedded(n int) *natsbridge.EmbeddedConfig {
	c := &natsbridge.EmbeddedConfig{
		Name: fmt.Sprintf("host%d", n), Site: "main", Listen: w.addr(n) + ":4222", Cluster: w.addr(n) + ":6222",
		Store: filepath.Join(w.dir, fmt.Sprintf("nats%d", n)),
	}
	for i := 1; i <= 3; i++ {
		if i != n {
			c.Peers = append(c.Peers, w.addr(i)+":6222")
		}
	}
	return c
}
