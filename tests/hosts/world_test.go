//go:build linux

package hosts

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// patience is how long anything that must come is waited for, on a machine with other things to do.
const patience = 60 * time.Second

// world is a bridge with namespaces at it.
type world struct {
	t      testing.TB
	dir    string
	hosts  []*host
	server *process
	ns     *process // of the server
}

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

func addr(n int) string { return fmt.Sprintf("10.98.0.%d", n) }

// newWorld makes a bridge.
func newWorld(t testing.TB) *world {
	rig.World(t)
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ip(t, "link", "add", "br0", "type", "bridge")
	t.Cleanup(func() { ip(t, "link", "del", "br0") })
	ip(t, "link", "set", "br0", "up")
	ip(t, "addr", "add", addr(254)+"/24", "dev", "br0")
	return &world{t: t, dir: dir}
}

// namespace makes one that is joined to the bridge under the address n.
func (w *world) namespace(n int) *process {
	p := play(w.t, "holder", nil, nil)
	pid := fmt.Sprint(p.cmd.Process.Pid)
	dev := fmt.Sprintf("h%d", n)
	ip(w.t, "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", pid)
	ip(w.t, "link", "set", dev, "master", "br0", "up")
	for _, args := range [][]string{{"addr", "add", addr(n) + "/24", "dev", "eth0"}, {"link", "set", "eth0", "up"}, {"link", "set", "lo", "up"}} {
		all := append([]string{"--net=/proc/" + pid + "/ns/net", "ip"}, args...)
		out, err := exec.Command("nsenter", all...).CombinedOutput()
		require.NoError(w.t, err, "%v: %s", all, out)
	}
	return p
}

// link cuts the namespace n off, or joins it again.
func (w *world) link(n int, up bool) {
	state := "down"
	if up {
		state = "up"
	}
	ip(w.t, "link", "set", fmt.Sprintf("h%d", n), state)
}

const serverAt = 100

// serve starts the NATS server; again with what it has stored.
func (w *world) serve() {
	if w.ns == nil {
		w.ns = w.namespace(serverAt)
	}
	w.server = play(w.t, "server", natsbridge.EmbeddedConfig{Name: "nats", Listen: addr(serverAt) + ":4222", Store: filepath.Join(w.dir, "nats")}, w.ns)
}

func (w *world) url() string { return "nats://" + addr(serverAt) + ":4222" }

// add makes a host; begin starts its broker.
func (w *world) add() *host {
	h := &host{w: w, n: len(w.hosts) + 1}
	h.ns = w.namespace(h.n)
	h.cfg = brokerConfig{Socket: filepath.Join(w.dir, fmt.Sprintf("%d.sock", h.n)), Name: fmt.Sprintf("host%d", h.n), URL: w.url()}
	w.hosts = append(w.hosts, h)
	return h
}

func (h *host) begin() { h.broker = begin(h.w.t, "broker", h.cfg, h.ns) }

// start makes n hosts whose brokers have joined.
func (w *world) start(n int) {
	for range n {
		w.add().begin()
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
	h.w.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (h *host) endpoint() connector.Endpoint {
	h.w.t.Helper()
	ep, err := h.dial("endpoint").Endpoint(context.Background())
	require.NoError(h.w.t, err)
	return ep
}

// await waits until the broker sees the hosts so.
func (h *host) await(what string, ok func([]natsbridge.HostRow) bool) {
	h.w.t.Helper()
	ep := h.endpoint()
	defer ep.Close()
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

// register registers an id for the site, with an agent that answers with the host's name.
func (h *host) register(id cbid.ID) error {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	name := []byte(h.cfg.Name)
	return connector.AddSiteCallback(ctx, h.dial("agent"), id, "agent", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, name) // the caller may be gone
	}), connector.SiteOptions{})
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
		Name: fmt.Sprintf("host%d", n), Site: "main", Listen: addr(n) + ":4222", Cluster: addr(n) + ":6222",
		Store: filepath.Join(w.dir, fmt.Sprintf("nats%d", n)),
	}
	for i := 1; i <= 3; i++ {
		if i != n {
			c.Peers = append(c.Peers, addr(i)+":6222")
		}
	}
	return c
}
