//go:build linux

package hosts

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// figures are what a process has in use, and must have given back when what used it has ended.
type figures struct {
	Goroutines int
	Files      int
	Heap       uint64 // bytes that live

	// Of a NATS server.
	Connections, Subscriptions int
}

// figuresID is each broker's own: it answers with the figures of its process.
var figuresID = cbid.Make(0x100, 1)

func answerFigures(ctx context.Context, d *connector.Delivery) {
	fds, _ := os.ReadDir("/proc/self/fd")
	runtime.GC()
	runtime.GC() // what finalizers held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, _ := json.Marshal(figures{Goroutines: runtime.NumGoroutine(), Files: len(fds), Heap: m.HeapAlloc}) // never fails
	_ = d.Reply(ctx, b)                                                                                   // who asked may be gone
}

// figures asks the broker of h for those of its process.
func (h *host) figures() (f figures) {
	h.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ep := h.endpoint()
	defer h.hangUp()
	ev, err := ep.Call(ctx, connector.Message{ID: figuresID}, connector.Dest{})
	require.NoError(h.w.t, err)
	require.NoError(h.w.t, json.Unmarshal(ev.Msg.Data, &f))
	return f
}

// serverFigures asks the NATS server.
func (w *world) serverFigures() (f figures) {
	w.t.Helper()
	var varz struct {
		Connections   int    `json:"connections"`
		Subscriptions int    `json:"subscriptions"`
		Mem           uint64 `json:"mem"`
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/varz", w.addr(serverAt), monitorPort), nil)
	require.NoError(w.t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(w.t, err)
	defer resp.Body.Close()
	require.NoError(w.t, json.NewDecoder(resp.Body).Decode(&varz))
	http.DefaultClient.CloseIdleConnections()
	return figures{Connections: varz.Connections, Subscriptions: varz.Subscriptions}
}

// more says what there is more of in f than there was in base; what comes and goes by itself is let pass.
func (f figures) more(base figures) string {
	var all []string
	add := func(what string, now, then, slack int) {
		if now > then+slack {
			all = append(all, fmt.Sprintf("%s: %d, before %d", what, now, then))
		}
	}
	add("goroutines", f.Goroutines, base.Goroutines, 4)
	add("open files", f.Files, base.Files, 4)
	add("KiB of memory", int(f.Heap>>10), int(base.Heap>>10), 24<<10)
	add("connections to NATS", f.Connections, base.Connections, 0)
	add("subscriptions", f.Subscriptions, base.Subscriptions, 0)
	return strings.Join(all, ", ")
}

// nothingLeaks waits until every process has given back what the scenario has used, as compared to after the first one, and
// looks at the site's store: there is what living hosts have, and nothing else.
func (w *world) nothingLeaks() {
	w.t.Helper()
	w.settled()
	now := func() (all []figures) {
		for _, h := range w.hosts {
			all = append(all, h.figures())
		}
		if w.server != nil {
			all = append(all, w.serverFigures())
		}
		return all
	}
	if w.base == nil {
		w.base = now()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		more := ""
		for i, f := range now() {
			if s := f.more(w.base[i]); s != "" {
				more += fmt.Sprintf("host %d (the last is the NATS server): %s\n", i+1, s)
			}
		}
		if more == "" {
			break
		}
		w.pause(ctx, "nothing leaks: "+more)
	}
	w.registrationsAreRight()
	w.storeIsRight()
}

// storeIsRight waits until the store has a number and a lease for each host, the ids that are registered for the site,
// the streams of durable groups, and nothing else.
func (w *world) storeIsRight() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := nats.Connect(w.storeURL(), nats.RetryOnFailedConnect(true), nats.Timeout(patience))
	require.NoError(w.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(w.t, err)
	var want []string
	for _, id := range w.siteIDs() {
		want = append(want, fmt.Sprintf("i.%d.%d", id.Idx, id.Val))
	}
	for range w.hosts {
		want = append(want, "lease", "number")
	}
	want = append(want, w.streams...)
	slices.Sort(want)
	for {
		// What is asked while the servers choose a leader is never answered.
		once, end := context.WithTimeout(ctx, 3*time.Second)
		have, err := w.keys(once, js)
		end()
		if err == nil && slices.Equal(have, want) {
			return
		}
		w.pause(ctx, fmt.Sprintf("the store has %v (%v), wanted is %v", have, err, want))
	}
}

// keys are those of all the streams that there are.
func (w *world) keys(ctx context.Context, js jetstream.JetStream) (keys []string, err error) {
	streams := js.StreamNames(ctx)
	for name := range streams.Name() {
		bucket, is := strings.CutPrefix(name, "KV_")
		if !is {
			keys = append(keys, "stream "+name)
			continue
		}
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			return nil, err
		}
		all, err := kv.Keys(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range all {
			switch {
			case strings.HasPrefix(k, "h."):
				k = "lease"
			case strings.HasPrefix(k, "n."):
				k = "number"
			}
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys, streams.Err()
}

// siteIDs are the ids that the hosts say they have registered for the site.
func (w *world) siteIDs() (ids []cbid.ID) {
	for id := range w.owners {
		ids = append(ids, id)
	}
	return ids
}

// registrationsAreRight waits until each host, but for one that is named, finds each id where it is.
func (w *world) registrationsAreRight(except ...*host) {
	w.t.Helper()
	for _, h := range w.hosts {
		if slices.Contains(except, h) {
			continue
		}
		for id, owner := range w.owners {
			h.answers(id, owner)
		}
	}
}
