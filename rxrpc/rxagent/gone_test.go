package rxagent_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// gateKeys are none; who asks for them waits.
type gateKeys struct {
	asked, goOn chan struct{}

	mu     sync.Mutex
	events []string
}

func (g *gateKeys) note(s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, s)
}

func (g *gateKeys) Source(connector.From) rxrpc.KeySource {
	g.asked <- struct{}{}
	<-g.goOn
	g.note("source")
	return nil
}

func (g *gateKeys) Key(context.Context, connector.From, uint32) (rxrpc.ClientKey, error) {
	return nil, syscall.ENOENT
}

func (g *gateKeys) Do(ctx context.Context, _ connector.From, _ rxmsg.Header, _ []byte) (uint32, []byte, error) {
	g.asked <- struct{}{}
	select {
	case <-g.goOn:
		return 0, nil, nil
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
}

func (g *gateKeys) Gone(connector.From) { g.note("gone") }

// TestOwnerDiesWhileItsSocketIsMade: there is no socket then, and Keys are told of its end after they were asked for it.
func TestOwnerDiesWhileItsSocketIsMade(t *testing.T) {
	keys := &gateKeys{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
	w := newWorld(t, &rxagent.Config{Keys: keys})
	c := w.client(t)
	c.post(rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}, 0, nil)
	await(t, keys.asked)
	c.die()
	require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Zero(col, w.agent.Stats().Owners) }, time.Minute, time.Millisecond)
	close(keys.goOn)
	require.EventuallyWithT(t, func(col *assert.CollectT) {
		keys.mu.Lock()
		defer keys.mu.Unlock()
		assert.Equal(col, []string{"source", "gone"}, keys.events)
		assert.Zero(col, w.agent.Stats().Sockets)
	}, time.Minute, time.Millisecond)
}

// blindBus cannot tell when a port is gone.
type blindBus struct{ connector.Bus }

func (blindBus) FollowPort(context.Context, uint32, func()) (func(), error) {
	return nil, connector.ErrNotSupported
}

// TestOwnerThatCannotBeFollowed is refused: nobody would free what it has.
func TestOwnerThatCannotBeFollowed(t *testing.T) {
	hub := loopback.New(nil)
	bus := hub.Open()
	t.Cleanup(func() { require.NoError(t, bus.Close()) })
	agent, err := rxagent.New(soon(t), blindBus{bus}, &rxagent.Config{Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, agent.Close()) })
	c := newClient(t, hub.Open())
	for range 2 {
		_, _, err = c.do(rxmsg.Header{Op: rxmsg.OpSocket, Arg: rxrpc.Inet}, nil)
		require.ErrorIs(t, err, syscall.ESHUTDOWN)
		require.ErrorContains(t, err, "could not be noticed")
	}
	require.EventuallyWithT(t, func(col *assert.CollectT) {
		assert.Zero(col, agent.Stats().Owners)
		assert.Zero(col, agent.Stats().Sockets)
	}, time.Minute, time.Millisecond)
}

// TestDeafOwner: who does not read what it is told of its mistakes is given up; what it has asked for completes all the same.
func TestDeafOwner(t *testing.T) {
	slow := newSlowOpen(t)
	w := newWorld(t, &rxagent.Config{Open: slow.open, Limits: rxagent.Limits{Requests: 2}, Logger: quiet})
	c := w.client(t)
	s := c.socket(rxmsg.Socket{})
	done := make(chan error, 2)
	ask := func(op rxmsg.Op, body []byte) {
		_, _, err := c.do(rxmsg.Header{Op: op, Sock: s}, body)
		done <- err
	}
	go ask(rxmsg.OpBind, at(0, local4))
	slow.await(t)
	go ask(rxmsg.OpGetName, nil)
	require.EventuallyWithT(t, func(col *assert.CollectT) { assert.Equal(col, 2, w.agent.Pending()) }, time.Minute, time.Millisecond)
	for w.agent.GivenUp() == 0 {
		c.post(rxmsg.Header{Op: rxmsg.OpGetName, Sock: 1}, 0, nil)
	}
	slow.release()
	refused := 0
	for range 2 {
		select {
		case err := <-done:
			if err != nil {
				require.ErrorIs(t, err, syscall.ENOBUFS)
				refused++
			}
		case <-soon(t).Done():
			require.Fail(t, "a request does not complete")
		}
	}
	assert.NotZero(t, refused)
}
