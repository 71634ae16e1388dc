package rxagent_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
)

// lateBus is a broker's bus that refuses every other event on the broker's goroutine, and lets go of those that come from
// elsewhere as late as may be: when it is asked whether they have been handled, or behind one that goes straight.
type lateBus struct {
	*broker.Bus
	mu      sync.Mutex
	loop    int // the thread of the broker's goroutine
	odd     bool
	refused bool // and it was not waited since
	rash    int  // events that came in spite of that
	pings   int

	elsewhere int // calls of PostHere
	held      []late
}

type late struct {
	m  connector.Message
	to connector.Dest
}

func (b *lateBus) Run(fn func()) bool {
	return b.Bus.Run(func() {
		b.mu.Lock()
		b.loop = syscall.Gettid()
		b.mu.Unlock()
		fn()
	})
}

func (b *lateBus) PostMore(ctx context.Context, m connector.Message, to connector.Dest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if syscall.Gettid() == b.loop {
		return b.here(m, to)
	}
	if b.refused {
		b.rash++
	}
	m.Data = append([]byte(nil), m.Data...)
	b.held = append(b.held, late{m, to})
	return nil
}

func (b *lateBus) PostHere(m connector.Message, to connector.Dest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if syscall.Gettid() != b.loop {
		b.elsewhere++
	}
	return b.here(m, to)
}

func (b *lateBus) here(m connector.Message, to connector.Dest) error {
	if b.odd = !b.odd; b.odd {
		b.refused = true
		return connector.ErrWouldBlock
	}
	err := b.Bus.PostHere(m, to)
	return errors.Join(err, b.letGo(context.Background()))
}

func (b *lateBus) letGo(ctx context.Context) (err error) {
	for _, l := range b.held {
		err = errors.Join(err, b.Bus.PostMore(ctx, l.m, l.to))
	}
	b.held = nil
	return err
}

func (b *lateBus) Ping(ctx context.Context) error {
	b.mu.Lock()
	b.refused = false
	b.pings++
	err := b.letGo(ctx)
	b.mu.Unlock()
	return errors.Join(err, b.Bus.Ping(ctx))
}

// TestEventsKeepTheirOrder: whoever sends them. What the broker's goroutine sends after the pump has come to the end does not overtake what that has
// sent, and the pump does not send before it knows what stopped the other.
func TestEventsKeepTheirOrder(t *testing.T) {
	b, err := broker.New(&broker.Config{Socket: socketPath(t), HistoryDir: "-", Log: quiet})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-served)
	})
	inside, err := b.Bus(soon(t), "rxrpc")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, inside.Close()) })
	bus := &lateBus{Bus: inside.(*broker.Bus)}
	agent, err := rxagent.New(soon(t), bus, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, agent.Close()) })

	const calls = 32
	c := newClient(t, dial1(t, b.Path()))
	s := c.connected(echo(t, 52))
	for tag := range uint64(calls) {
		c.send(s, tag, pattern(int(tag)))
	}
	for range calls {
		c.msg() // which looks at the numbers
	}
	for tag := range uint64(calls) {
		c.send(s, calls+tag, pattern(int(tag)))
		got, _ := c.phase(s, calls+tag)
		require.Equal(t, string(pattern(int(tag))), string(got))
	}
	bus.mu.Lock()
	defer bus.mu.Unlock()
	assert.Zero(t, bus.rash)
	assert.Zero(t, bus.elsewhere)
	assert.NotZero(t, bus.pings)
}
