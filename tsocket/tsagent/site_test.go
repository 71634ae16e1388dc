package tsagent_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

var background = context.Background()

// patience is how long something that is to happen is waited for.
const patience = 2 * time.Minute

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, patience)
	t.Cleanup(cancel)
	return ctx
}

// site is a bus with an agent.
type site struct {
	agent  *tsagent.Agent
	bus    func(t testing.TB) connector.Bus // another process
	sink   bool
	window int
}

// onLoopback makes a site in this process.
func onLoopback(t testing.TB, c *tsagent.Config) *site {
	hub := loopback.New(nil)
	s := &site{bus: func(t testing.TB) connector.Bus {
		b := hub.Open()
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		return b
	}}
	s.start(t, c)
	return s
}

func (s *site) start(t testing.TB, c *tsagent.Config) {
	a, err := tsagent.New(soon(t), s.bus(t), c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	s.agent = a
}

// client makes a client with a bus of its own.
func (s *site) client(t testing.TB) *tsagent.Client {
	var c *tsagent.ClientConfig
	if s.sink {
		c = &tsagent.ClientConfig{Sink: cbid.Make(0x5000, 1), Room: cbid.Make(0x5000, 2), Window: s.window}
	}
	client, err := tsagent.NewClient(soon(t), s.bus(t), c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func local4(port uint16) tsocket.Addr {
	return tsocket.MustAddr(tsocket.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)))
}

// onEach runs a test on every kind of bus.
func onEach(t *testing.T, c *tsagent.Config, test func(t *testing.T, s *site)) {
	if c == nil {
		c = &tsagent.Config{}
	}
	t.Run("loopback", func(t *testing.T) { test(t, onLoopback(t, c)) })
	t.Run("loopback, sink", func(t *testing.T) {
		withSinks := *c
		withSinks.Sinks = true
		s := onLoopback(t, &withSinks)
		s.sink = true
		test(t, s)
	})
	t.Run("loopback, sink, loop", func(t *testing.T) {
		withSinks := *c
		withSinks.Sinks, withSinks.Loop = true, running(t)
		s := onLoopback(t, &withSinks)
		s.sink = true
		test(t, s)
	})
	if onBroker != nil {
		t.Run("broker", func(t *testing.T) { test(t, onBroker(t, c)) })
	}
}

// running is a loop that runs until the end of the test.
func running(t testing.TB) *tsocket.Loop {
	l, err := tsocket.NewLoop(nil)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(background) }()
	t.Cleanup(func() {
		assert.NoError(t, l.Close())
		assert.NoError(t, <-ended)
	})
	return l
}

// onBroker makes a site on a broker, where there are brokers.
var onBroker func(t testing.TB, c *tsagent.Config) *site

func any4() tsocket.Addr {
	return tsocket.MustAddr(tsocket.AddrFrom(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)))
}
