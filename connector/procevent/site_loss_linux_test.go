package procevent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

const siteRules = `
[[rule]]
uid = ["*"]
register = ["*"]
send = ["*"]
join = ["*"]
publish = ["*"]
unicast = true
`

// joinedHost is a broker that has joined a site.
type joinedHost struct {
	bridge *natsbridge.Bridge
	bus    connector.Bus
	close  func()
}

func joinHost(t *testing.T, name, url string) *joinedHost {
	quiet := slog.New(slog.DiscardHandler)
	policy, err := broker.ParsePolicy(siteRules)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "s")
	b, err := broker.New(&broker.Config{Socket: path, HistoryDir: "-", Drain: time.Second, Policy: policy, Log: quiet})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	serving, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(serving) }()
	h := &joinedHost{}
	h.bridge, err = natsbridge.Join(ctx, b, &natsbridge.Config{Host: name, URL: url, SameUsers: true, Lease: time.Minute, Log: quiet})
	require.NoError(t, err)
	h.bus, err = client.Dial(ctx, &client.Config{Socket: path, Name: name, Logger: quiet, DialTimeout: 2 * time.Minute})
	require.NoError(t, err)
	h.close = func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		assert.NoError(t, h.bus.Close())
		assert.NoError(t, h.bridge.Close(ctx))
		end()
		assert.NoError(t, <-done)
	}
	return h
}

// way is a way to a TCP server that can be cut: connections end, and new ones do not come to be.
type way struct {
	net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex // guards what follows
	shut  bool
	conns []net.Conn
}

func newWay(t *testing.T, to string) *way {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &way{Listener: l, to: to}
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.pass(c)
		}
	})
	return w
}

func (w *way) pass(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	far, err := net.Dial("tcp", w.to)
	if err != nil || w.shut {
		c.Close()
		if err == nil {
			far.Close()
		}
		return
	}
	w.conns = append(w.conns, c, far)
	for _, d := range [][2]net.Conn{{c, far}, {far, c}} {
		w.wg.Go(func() {
			_, _ = io.Copy(d[0], d[1])
			d[0].Close()
		})
	}
}

func (w *way) cut(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut = yes; yes {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

// TestSiteTellsWhatTheWayLoses: NATS loses events of a host on the way to another, whose connection is away for a moment. The
// receiver is told how many, exactly, at their place; a third host loses none.
func TestSiteTellsWhatTheWayLoses(t *testing.T) {
	e, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "test", Listen: "127.0.0.1:0", Store: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer e.Close()
	w := newWay(t, strings.TrimPrefix(e.URL(), "nats://"))
	defer func() {
		w.Close()
		w.cut(true)
		w.wg.Wait()
	}()
	one, two, three := joinHost(t, "one", e.URL()), joinHost(t, "two", "nats://"+w.Addr().String()), joinHost(t, "three", e.URL())
	defer one.close()
	defer two.close()
	defer three.close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	k := &fakeKernel{}
	agent, err := NewAgent(ctx, one.bus, &AgentConfig{root: t.TempDir(), dial: k.dial, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer agent.Close()
	require.NoError(t, agent.Site(ctx, one.bridge.Number(), "one"))
	follow := func(h *joinedHost) *SiteSubscription {
		s, err := SubscribeSite(ctx, h.bus, Filter{})
		require.NoError(t, err)
		ev, err := s.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, HostHere, ev.Change)
		return s
	}
	far, near := follow(two), follow(three)
	defer far.Close()
	defer near.Close()

	// next is the next event of a subscription, and how many are told as missing before it.
	next := func(s *SiteSubscription, wait time.Duration) (pid uint32, lost uint64, err error) {
		short, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		for {
			ev, err := s.Recv(short)
			switch {
			case err != nil:
				return 0, lost, err
			case ev.Change != 0:
				require.NotEqual(t, HostGone, ev.Change)
			case ev.Event.Kind == Lost:
				require.True(t, ev.Event.Exact)
				require.Equal(t, one.bridge.Number(), ev.Host)
				lost += ev.Event.Count
			default:
				return ev.Event.Pid, lost, nil
			}
		}
	}
	sent, got, missed := uint32(0), uint32(0), uint64(0)
	emit := func(n int) {
		for range n {
			sent++
			k.emit(sent%2, exec1(sent))
		}
		for range n {
			pid, lost, err := next(near, time.Minute)
			require.NoError(t, err)
			require.Zero(t, lost)
			require.LessOrEqual(t, pid, sent)
		}
	}
	take := func(wait time.Duration) error {
		pid, lost, err := next(far, wait)
		missed += lost
		got += uint32(lost)
		if err == nil {
			got++
			require.Equal(t, got, pid, "what is missing is told before what comes after it")
		}
		return err
	}
	for round := range uint64(3) {
		emit(20)
		for got < sent {
			require.NoError(t, take(time.Minute))
		}
		w.cut(true)
		emit(50)
		w.cut(false)
		for at := sent; got <= at; {
			emit(1) // until the connection is back
			if err := take(300 * time.Millisecond); err != nil {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, ctx.Err(), fmt.Sprint(got, missed))
			}
		}
		for got < sent {
			require.NoError(t, take(time.Minute))
		}
		assert.GreaterOrEqual(t, missed, 50*(round+1))
	}
}
