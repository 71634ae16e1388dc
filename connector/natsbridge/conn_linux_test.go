package natsbridge

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// gates is a network: connections can be cut, and further ones be had wait.
type gates struct {
	mu    sync.Mutex
	conns []net.Conn
	shut  chan struct{} // closed when they are to go on; nil: they need not wait
	tried chan struct{} // one of them waits
}

func (g *gates) Dial(network, address string) (net.Conn, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		select {
		case g.tried <- struct{}{}:
		default:
		}
		<-shut
	}
	c, err := net.Dial(network, address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns = append(g.conns, c); err != nil {
		return nil, err
	}
	return c, nil
}

func (g *gates) cut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.tried = make(chan struct{}), make(chan struct{}, 1)
	for _, c := range g.conns {
		_ = c.Close()
	}
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		close(g.shut)
		g.shut = nil
	})
}

// TestADialHoldsUpNobody: while a connection to NATS is made, which takes as long as it likes, a host serves its own clients, also those who
// send to other hosts. Afterwards all is as before.
func TestADialHoldsUpNobody(t *testing.T) {
	e, err := StartEmbedded(EmbeddedConfig{Name: "test", Listen: "127.0.0.1:0", Store: t.TempDir(), Log: quiet})
	require.NoError(t, err)
	defer e.Close()
	var world gates
	cfg := config(nil, 1)
	cfg.URL, cfg.Options = e.URL(), []nats.Option{nats.SetCustomDialer(&world)}
	one, two := startHost(t, cfg, 0), startHost(t, config(e, 2), 0)
	defer two.stop()
	defer one.stop()
	meet(t, one, two)
	sender, receiver := one.dial(t, "sender"), two.dial(t, "receiver")
	defer sender.Close()
	defer receiver.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const group = 0x200
	from, err := sender.Endpoint(ctx)
	require.NoError(t, err)
	to, err := receiver.Endpoint(ctx)
	require.NoError(t, err)
	require.NoError(t, to.Join(ctx, group))
	m := connector.Message{ID: cbid.Make(group, 1), Data: make([]byte, 128)}
	// The port of another host is what says that it can be reached.
	require.NoError(t, from.Post(ctx, m, connector.Dest{Port: to.Port()}))
	_, err = to.Recv(ctx)
	require.NoError(t, err)

	for range 3 {
		open := world.cut()
		defer open()
		for waits := false; !waits; {
			// It is found out while messages are sent.
			require.NoError(t, from.Post(ctx, m, connector.Dest{Group: group}))
			_, err = one.broker.Stat(ctx)
			require.NoError(t, err, "the loop goes on")
			select {
			case <-world.tried:
				waits = true
			default:
			}
		}
		for range 100 {
			require.NoError(t, from.Post(ctx, m, connector.Dest{Group: group}))
			require.NoError(t, from.Post(ctx, m, connector.Dest{Port: to.Port()}))
			_, err = one.broker.Stat(ctx)
			require.NoError(t, err, "the loop goes on")
		}
		open()
		for unicast := 0; unicast < 100; { // in the end; the group has lost some, and is told
			ev, err := to.Recv(ctx)
			require.NoError(t, err)
			if ev.Kind == connector.EventMessage && ev.From.Group == 0 {
				unicast++
			}
		}
	}
}
