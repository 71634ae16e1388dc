package connector_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// siteBus is a bus that is a whole site.
type siteBus struct {
	connector.Bus
	before  func() error // AddSiteCallback
	send    func(ctx context.Context) error
	after   func()
	changed func(connector.SiteState, string)
}

func (b *siteBus) AddSiteCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler, opt connector.SiteOptions) error {
	if b.before != nil {
		if err := b.before(); err != nil {
			return err
		}
	}
	if b.after != nil {
		defer b.after()
	}
	b.changed = opt.Changed
	return b.AddCallback(ctx, id, name, h)
}

func (b *siteBus) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	if b.send != nil {
		return b.send(ctx)
	}
	return b.Bus.Send(ctx, m, to)
}

func agentID(host uint32) cbid.ID { return cbid.Make(0x5000, host) }

// offering is an agent whose id is looked at from another bus.
func offering(t *testing.T) (*connector.SiteAgent, *siteBus, func() string) {
	hub := loopback.New(nil)
	bus, other := hub.Open(), hub.Open()
	t.Cleanup(func() {
		assert.NoError(t, bus.Close())
		assert.NoError(t, other.Close())
	})
	b := &siteBus{Bus: bus}
	ep, err := other.Endpoint(t.Context())
	require.NoError(t, err)
	return &connector.SiteAgent{Bus: b, Name: "test", ID: agentID, Log: slog.New(slog.DiscardHandler)}, b, func() string {
		ev, err := ep.Call(t.Context(), connector.Message{ID: agentID(7)}, connector.Dest{})
		if err != nil {
			return err.Error()
		}
		return string(ev.Msg.Data)
	}
}

func says(text string) connector.Handler {
	return connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, []byte(text)) })
}

func TestSiteAgent(t *testing.T) {
	a, b, ask := offering(t)
	for _, host := range []uint32{0, connector.MaxHost + 1} {
		assert.ErrorIs(t, a.Offer(t.Context(), host, "seven", says("x")), connector.ErrInvalid)
	}
	b.before = func() error { return connector.ErrInterrupted }
	assert.ErrorIs(t, a.Offer(t.Context(), 7, "seven", says("x")), connector.ErrInterrupted)
	assert.Contains(t, ask(), "no such id")
	b.before = nil
	require.NoError(t, a.Offer(t.Context(), 7, "seven", says("I am")), "again after a failure")
	assert.Equal(t, "I am", ask())
	require.NoError(t, a.Offer(t.Context(), 7, "seven", says("I am")), "it is there")
	assert.ErrorIs(t, a.Offer(t.Context(), 8, "eight", says("x")), connector.ErrInvalid)
	require.NoError(t, a.Withdraw(t.Context()))
	assert.Contains(t, ask(), "no such id")
	require.NoError(t, a.Withdraw(t.Context()))
	assert.ErrorIs(t, a.Offer(t.Context(), 7, "seven", says("x")), connector.ErrClosed)
}

// An agent that ends while it is being offered is not there afterwards.
func TestSiteAgentWithdrawnMeanwhile(t *testing.T) {
	a, b, ask := offering(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.before = func() error { return a.Withdraw(ctx) }
	b.after = cancel // not even if nobody waits any more
	assert.ErrorIs(t, a.Offer(ctx, 7, "seven", says("x")), connector.ErrClosed)
	assert.Contains(t, ask(), "no such id")
}

// What is gone with its bus is withdrawn.
func TestSiteAgentOfABusThatIsGone(t *testing.T) {
	a, b, _ := offering(t)
	require.NoError(t, a.Offer(t.Context(), 7, "seven", says("x")))
	require.NoError(t, b.Close())
	assert.NoError(t, a.Withdraw(t.Context()))
}

func TestSiteAgentWhoseIdIsTaken(t *testing.T) {
	var log bytes.Buffer
	a, b, _ := offering(t)
	a.Log = slog.New(slog.NewTextHandler(&log, nil))
	require.NoError(t, a.Offer(t.Context(), 7, "seven", says("x")))
	b.changed(connector.SiteSuspended, "no contact")
	assert.Empty(t, log.String())
	b.changed(connector.SiteLost, "eight has it")
	assert.Contains(t, log.String(), "agent=test")
	assert.Contains(t, log.String(), `why="eight has it"`)
}

// The name of a host may be longer than that of an id, which is cut between characters.
func TestSiteAgentOfAHostWithALongName(t *testing.T) {
	for host, want := range map[string]string{
		strings.Repeat("x", 26):                "test " + strings.Repeat("x", 26),
		strings.Repeat("x", 63):                "test " + strings.Repeat("x", 26),
		strings.Repeat("ü", 13):                "test " + strings.Repeat("ü", 13),
		"a" + strings.Repeat("ü", 13):          "test a" + strings.Repeat("ü", 12),
		strings.Repeat("日本", 5):                "test 日本日本日本日本",
		"xx" + strings.Repeat("\U0001F600", 9): "test xx" + strings.Repeat("\U0001F600", 6),
	} {
		a, b, _ := offering(t)
		require.NoError(t, a.Offer(t.Context(), 7, host, says("x")))
		w, err := connector.Watch(t.Context(), b.Bus, cbid.NewSet(cbid.Rect{Idx: cbid.One(0x5000), Val: cbid.One(7)}))
		require.NoError(t, err)
		ch, err := w.Next(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, ch.Info.Name, host)
		assert.True(t, utf8.ValidString(ch.Info.Name))
		require.NoError(t, w.Close())
	}
}

// A client of another host is told at once that what the agent has to tell would not come; nobody waits for more than that.
func TestSiteAgentGreets(t *testing.T) {
	a, b, _ := offering(t)
	require.NoError(t, a.Offer(t.Context(), 7, "seven", says("x")))
	refused := &connector.OpError{Op: "send", Port: connector.SitePort(9, 1), Err: connector.ErrPermission}
	sent := 0
	b.send = func(context.Context) error { sent++; return refused }
	greet := func(port uint32) error {
		answer := make(chan error, 1)
		a.Greet(port, connector.Message{}, func(err error) { answer <- err })
		return <-answer
	}
	err := greet(connector.SitePort(9, 1))
	assert.ErrorIs(t, err, connector.ErrPermission)
	assert.ErrorContains(t, err, "host 9, which is yours, does not let the test agent of host seven (number 7)")
	assert.ErrorContains(t, err, "unicast")
	assert.NoError(t, greet(3), "a client of this host")
	assert.NoError(t, greet(connector.SitePort(7, 3)), "by its full name")
	assert.Equal(t, 1, sent)
	b.send = nil
	assert.NoError(t, greet(connector.SitePort(9, 1)), "it is gone: that it will notice by itself")

	b.send = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } // the host is unreachable
	answers := make(chan error, 100)
	for range cap(answers) {
		a.Greet(connector.SitePort(9, 1), connector.Message{}, func(err error) { answers <- err })
	}
	for range cap(answers) - 16 {
		assert.ErrorIs(t, <-answers, connector.ErrLimit)
	}
	require.NoError(t, a.Withdraw(t.Context()))
	assert.Len(t, answers, 16, "the end of the agent ends them")
	assert.NoError(t, greet(connector.SitePort(9, 1)))
}
