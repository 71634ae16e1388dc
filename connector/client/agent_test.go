package client

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// toID is a message to a callback as the broker sends it.
func toID(m connector.Message) []byte { return msg(frame.Header{Flags: frame.FlagToID}, m) }

// asked is toID of a call.
func asked(m connector.Message) []byte {
	return msg(frame.Header{Flags: frame.FlagToID | frame.FlagCall}, m)
}

// register adds a callback, which the fake accepts.
func register(t *testing.T, b *Bus, p *peer, id cbid.ID, h connector.Handler) {
	t.Helper()
	added := run(func() error { return b.AddCallback(within(t), id, "name", h) })
	hd, body := p.want(frame.Add)
	got, name, err := frame.ParseNamed(body)
	require.NoError(t, err)
	assert.Equal(t, id, got)
	assert.Equal(t, "name", name)
	p.ack(hd)
	require.NoError(t, get(t, added))
}

// gate is closed by open, and at the latest before the Bus waits for its handlers.
func gate(t *testing.T) (c chan struct{}, open func()) {
	c = make(chan struct{})
	open = sync.OnceFunc(func() { close(c) })
	t.Cleanup(open)
	return c, open
}

func agentSide(t *testing.T) (*fake, *Bus, *peer) {
	t.Helper()
	f := newFake(t)
	b, p := f.dial(f.config())
	return f, b, p
}

func TestACallbackRunsInOrderAndReplies(t *testing.T) {
	_, b, p := agentSide(t)
	register(t, b, p, id1, connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.Equal(t, connector.From{Port: 8, Cred: connector.Cred{UID: 1, GID: 2, PID: 3}}, d.From)
		assert.NoError(t, d.Reply(ctx, append([]byte("re "), d.Msg.Data...)))
	}))
	var all []byte
	const n = 500
	for i := range n {
		m := connector.Message{ID: id1, Seq: uint32(i), Ack: 7, Data: []byte("x")}
		all = append(all, msg(frame.Header{Flags: frame.FlagToID | frame.FlagCall, Port: 8, UID: 1, GID: 2, PID: 3}, m)...)
	}
	go p.raw(all)
	for i := range n {
		h, m := p.wantSend()
		require.EqualValues(t, frame.FlagReply, h.Flags)
		require.EqualValues(t, 8, h.Port)
		require.Equal(t, connector.Message{ID: id1, Seq: uint32(i), Ack: 8, Data: []byte("re x")}, m)
	}
}

func TestALoneReplyLeavesAtOnce(t *testing.T) {
	_, b, p := agentSide(t)
	hold, open := gate(t)
	register(t, b, p, id1, connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.NoError(t, d.Reply(ctx, nil))
		<-hold // the reply must not wait for the handler's end
	}))
	p.raw(asked(text(id1, "")))
	p.wantSend()
	// Nor do those of a batch wait longer than until another goroutine reads.
	open()
	hold2, _ := gate(t)
	register(t, b, p, id2, connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		err := d.Reply(ctx, nil)
		assert.True(t, err == nil || string(d.Msg.Data) == "2", "%v", err) // the Bus may be closed when it is the second one's turn
		<-hold2
	}))
	p.raw(append(asked(text(id2, "1")), asked(text(id2, "2"))...))
	p.wantSend()
}

func TestASlowCallbackHoldsUpNobodyElse(t *testing.T) {
	_, b, p := agentSide(t)
	hold, open := gate(t)
	var slow, wrong atomic.Int32
	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) {
		if slow.Add(1) > 1 && !isClosed(hold) {
			wrong.Add(1)
		}
		<-hold
	}))
	fast := make(chan string, 10)
	register(t, b, p, id2, connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) { fast <- string(d.Msg.Data) }))
	p.raw(append(toID(text(id1, "a")), toID(text(id2, "same batch"))...))
	assert.Equal(t, "same batch", get(t, fast))
	p.raw(toID(text(id1, "b")))
	p.raw(toID(text(id2, "later")))
	assert.Equal(t, "later", get(t, fast))
	require.NoError(t, func() error { // requests go on too
		done := run(func() error { return b.Ping(within(t)) })
		h, _ := p.want(frame.Ping)
		p.ack(h)
		return get(t, done)
	}())
	open()
	done := run(func() error { return b.DelCallback(within(t), id1) })
	h, _ := p.want(frame.Del)
	p.ack(h)
	require.NoError(t, get(t, done))
	assert.EqualValues(t, 2, slow.Load())
	assert.Zero(t, wrong.Load(), "one at a time")
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestMessagesOfABusyCallbackKeepTheirOrder(t *testing.T) {
	_, b, p := agentSide(t)
	var mu sync.Mutex
	var got []uint32
	all := make(chan struct{})
	hold := make(chan struct{})
	const n = 4000
	register(t, b, p, id1, connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		if d.Msg.Seq%1000 == 10 {
			<-hold // long enough for another reader
		}
		assert.Equal(t, byte(d.Msg.Seq), d.Msg.Data[99])
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, d.Msg.Seq); len(got) == n {
			close(all)
		}
	}))
	fast := make(chan struct{}, 1)
	register(t, b, p, id2, connector.HandlerFunc(func(context.Context, *connector.Delivery) { fast <- struct{}{} }))
	for part := range 4 {
		var bytes []byte
		for i := range n / 4 {
			data := make([]byte, 100)
			data[99] = byte(part*n/4 + i)
			bytes = append(bytes, toID(connector.Message{ID: id1, Seq: uint32(part*n/4 + i), Data: data})...)
		}
		p.raw(append(bytes, toID(text(id2, ""))...))
		get(t, fast) // all before it has been read
		if part < 3 {
			hold <- struct{}{}
		}
	}
	hold <- struct{}{}
	get(t, all)
	for i := range got {
		require.EqualValues(t, i, got[i])
	}
}

func TestAFullMailboxIsHeld(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.MailboxBytes = 4000
	b, p := f.dial(cfg)
	hold, open := gate(t)
	entered, ran := make(chan struct{}, 100), make(chan struct{}, 100)
	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) {
		entered <- struct{}{}
		<-hold
		ran <- struct{}{}
	}))
	one := toID(connector.Message{ID: id1, Data: make([]byte, 924)})
	p.raw(one)
	get(t, entered)
	for range 6 {
		p.raw(one)
	}
	_, body := p.want(frame.Hold)
	assert.Equal(t, frame.AppendID(nil, id1), body)
	open()
	for range 7 {
		get(t, ran)
	}
	_, body = p.want(frame.Resume)
	assert.Equal(t, frame.AppendID(nil, id1), body)
}

func TestDelCallbackWaitsForTheHandler(t *testing.T) {
	_, b, p := agentSide(t)
	entered := make(chan struct{}, 10)
	hold, open := gate(t)
	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) {
		entered <- struct{}{}
		<-hold
	}))
	p.raw(toID(text(id1, "")))
	p.raw(toID(text(id1, "")))
	get(t, entered)
	ctx, cancel := context.WithCancel(bg)
	deleted := run(func() error { return b.DelCallback(within(t), id1) })
	h, body := p.want(frame.Del)
	assert.Equal(t, frame.AppendID(nil, id1), body)
	require.ErrorIs(t, b.DelCallback(bg, id1), connector.ErrNoID, "a second time")
	p.ack(h)
	select {
	case <-deleted:
		assert.Fail(t, "the handler still runs")
	default:
	}
	open()
	require.NoError(t, get(t, deleted))
	assert.Len(t, entered, 1, "the message that had come was handled before")
	require.ErrorIs(t, b.DelCallback(bg, id1), connector.ErrNoID)

	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) { <-ctx.Done() }))
	p.raw(toID(text(id1, "")))
	short, end := context.WithCancel(bg)
	deleted = run(func() error { return b.DelCallback(short, id1) })
	h, _ = p.want(frame.Del)
	p.ack(h)
	end()
	require.ErrorIs(t, get(t, deleted), context.Canceled)
	cancel()
}

func TestAddCallbackIsRefused(t *testing.T) {
	_, b, p := agentSide(t)
	nop := connector.HandlerFunc(func(context.Context, *connector.Delivery) {})
	require.ErrorIs(t, b.AddCallback(bg, id1, "x", nil), connector.ErrInvalid)
	require.ErrorIs(t, b.AddCallback(bg, id1, strings.Repeat("x", 32), nop), connector.ErrInvalid)
	require.ErrorIs(t, b.AddCallback(bg, id1, "a\x00b", nop), connector.ErrInvalid)
	for range 2 {
		added := run(func() error { return b.AddCallback(within(t), id1, "x", nop) })
		h, _ := p.want(frame.Add)
		p.refuse(h, connector.ErrDuplicate)
		err := get(t, added)
		require.ErrorIs(t, err, connector.ErrDuplicate)
		assert.ErrorContains(t, err, "because")
	}
	register(t, b, p, id1, nop)
	require.ErrorIs(t, b.AddCallback(bg, id1, "x", nop), connector.ErrDuplicate, "without asking")
}

func TestAnAddCallbackThatWasGivenUpIsUndone(t *testing.T) {
	_, b, p := agentSide(t)
	ran := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(bg)
	added := run(func() error {
		return b.AddCallback(ctx, id1, "x", connector.HandlerFunc(func(context.Context, *connector.Delivery) { ran <- struct{}{} }))
	})
	h, _ := p.want(frame.Add)
	cancel()
	require.ErrorIs(t, get(t, added), context.Canceled)
	p.ack(h)
	p.raw(toID(text(id1, "")))
	h, body := p.want(frame.Del)
	assert.Equal(t, frame.AppendID(nil, id1), body)
	p.ack(h)
	ping := run(func() error { return b.Ping(within(t)) })
	h, _ = p.want(frame.Ping)
	p.ack(h)
	require.NoError(t, get(t, ping))
	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) {}))
	assert.Empty(t, ran, "its handler does not run")
}

func TestAHandlerThatDoesNotReturnIsContained(t *testing.T) {
	_, b, p := agentSide(t)
	got := make(chan string, 10)
	register(t, b, p, id1, connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		switch string(d.Msg.Data) {
		case "panic":
			panic("on purpose")
		case "exit":
			runtime.Goexit()
		}
		got <- string(d.Msg.Data)
	}))
	// Each at the beginning and in the middle of a batch, and when another reads.
	for _, how := range []string{"panic", "exit"} {
		p.raw(toID(text(id1, how)))
		p.raw(toID(text(id1, "1")))
		assert.Equal(t, "1", get(t, got))
		p.raw(append(append(toID(text(id1, "2")), toID(text(id1, how))...), toID(text(id1, "3"))...))
		assert.Equal(t, "2", get(t, got))
		assert.Equal(t, "3", get(t, got))
	}
	assert.EqualValues(t, 4, b.Stats().Panics)
}

type interested struct {
	connector.HandlerFunc
	told chan bool
}

func (i interested) Interest(_ context.Context, group uint32, listening bool) {
	if group == id1.Idx {
		i.told <- listening
	}
}

func TestInterestIsToldOnceAndInOrder(t *testing.T) {
	f, b, p := agentSide(t)
	told := make(chan bool, 10)
	h := interested{connector.HandlerFunc(func(context.Context, *connector.Delivery) { told <- true }), told}
	register(t, b, p, id1, h)
	p.send(frame.Header{Type: frame.Interest, Group: id1.Idx})
	assert.False(t, get(t, told))
	p.send(frame.Header{Type: frame.Interest, Group: id1.Idx})     // of another id with the same idx
	p.send(frame.Header{Type: frame.Interest, Group: id1.Idx + 1}) // of nobody
	p.raw(append(toID(text(id1, "")), frame.Header{Type: frame.Interest, Group: id1.Idx, Code: 1}.Append(nil)...))
	assert.True(t, get(t, told), "the message")
	assert.True(t, get(t, told))
	p.c.Close()
	p = f.welcome(1)
	hd, _ := p.want(frame.Add)
	p.ack(hd)
	p.send(frame.Header{Type: frame.Interest, Group: id1.Idx, Code: 1}) // known
	p.send(frame.Header{Type: frame.Interest, Group: id1.Idx, Code: 0})
	assert.False(t, get(t, told))
	assert.Empty(t, told)
}

func TestRegistrationsAreRestored(t *testing.T) {
	f := newFake(t)
	events := make(chan connector.Event, 100)
	cfg := f.config()
	cfg.OnEvent = func(ev connector.Event) { events <- ev }
	b, p := f.dial(cfg)
	old := make(chan *connector.Delivery, 1)
	h := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if string(d.Msg.Data) == "keep" {
			old <- d.Detach()
			return
		}
		assert.NoError(t, d.Reply(ctx, d.Msg.Data))
	})
	register(t, b, p, id1, h)
	register(t, b, p, id2, h)
	done := run(func() error { return b.SetHistory(within(t), id1.Idx, connector.History{Messages: 3}) })
	hd, body := p.want(frame.History)
	assert.Equal(t, frame.AppendU64s(nil, 3, 0, 0), body)
	assert.Equal(t, id1.Idx, hd.Group)
	p.ack(hd)
	require.NoError(t, get(t, done))
	p.raw(asked(text(id1, "keep")))
	kept := get(t, old)

	require.NoError(t, p.c.Close())
	ev := get(t, events)
	assert.Equal(t, connector.EventDown, ev.Kind)
	require.ErrorIs(t, ev.Err, connector.ErrInterrupted)
	require.ErrorIs(t, kept.Reply(bg, nil), connector.ErrInterrupted, "its caller's port id may be another's now")

	p = f.welcome(15)
	adds, history := map[cbid.ID]frame.Header{}, frame.Header{}
	for range 3 {
		hd, body := p.next()
		if hd.Type == frame.History {
			assert.Len(t, adds, 2, "a history needs its id")
			history = hd
			continue
		}
		require.Equal(t, frame.Add, hd.Type)
		id, _, err := frame.ParseNamed(body)
		require.NoError(t, err)
		assert.EqualValues(t, frame.FlagAgain, hd.Flags)
		adds[id] = hd
	}
	p.ack(adds[id1])
	for range takenTries { // the broker has not noticed the end of the old connection
		p.refuse(adds[id2], connector.ErrDuplicate)
		hd, body := p.want(frame.Add)
		id, _, err := frame.ParseNamed(body)
		require.NoError(t, err)
		require.Equal(t, id2, id)
		adds[id] = hd
	}
	p.refuse(adds[id2], connector.ErrDuplicate)
	p.ack(history)
	ev = get(t, events)
	assert.Equal(t, connector.EventFailed, ev.Kind)
	assert.Equal(t, id2, ev.Msg.ID)
	require.ErrorIs(t, ev.Err, connector.ErrDuplicate)
	assert.Equal(t, connector.EventUp, get(t, events).Kind)
	assert.EqualValues(t, 15, b.Port())
	p.raw(asked(text(id1, "works")))
	_, m := p.wantSend()
	assert.Equal(t, "works", string(m.Data))
	require.ErrorIs(t, b.DelCallback(bg, id2), connector.ErrNoID)
	require.ErrorIs(t, kept.Reply(bg, nil), connector.ErrInterrupted, "still")
}

func TestTheAgentSideSendsAsADriverDoes(t *testing.T) {
	f := newFake(t)
	events := make(chan connector.Event, 10)
	cfg := f.config()
	cfg.OnEvent = func(ev connector.Event) { events <- ev }
	b, p := f.dial(cfg)
	for _, c := range []struct {
		to    connector.Dest
		flags uint8
	}{
		{connector.Dest{}, frame.FlagAgent},
		{connector.Dest{Port: 5}, 0},
		{connector.Dest{Group: 5, Full: connector.FullWait}, frame.FlagWait},
	} {
		sent := run(func() error { return b.Send(within(t), text(id1, "x"), c.to) })
		h, _ := p.wantSend()
		assert.Equal(t, c.flags|frame.FlagAck, h.Flags)
		assert.Equal(t, c.to.Port, h.Port)
		assert.Equal(t, c.to.Group, h.Group)
		p.ack(h)
		require.NoError(t, get(t, sent))
		require.NoError(t, b.Post(bg, text(id1, "x"), c.to))
		h, _ = p.wantSend()
		assert.Equal(t, c.flags, h.Flags)
	}
	p.send(frame.Header{Type: frame.Fail, Code: connector.ErrNoListener.Code()}, msg(frame.Header{}, text(id1, ""))[frame.HeaderLen:]...)
	ev := get(t, events)
	assert.Equal(t, connector.EventFailed, ev.Kind)
	require.ErrorIs(t, ev.Err, connector.ErrNoListener)
	p.send(frame.Header{Type: frame.Lost, Pos: 4})
	assert.EqualValues(t, 4, get(t, events).Lost)

	// Stopped: a message to the id's group waits for the group.
	p.send(frame.Header{Type: frame.Stop, Group: id1.Idx})
	p.send(frame.Header{Type: frame.Lost})
	get(t, events)
	posted := run(func() error { return b.Post(within(t), text(id1, "x"), connector.Dest{Full: connector.FullWait}) })
	p.send(frame.Header{Type: frame.Go, Group: id1.Idx})
	p.wantSend()
	require.NoError(t, get(t, posted))
}

func TestTheAgentSideEndsWithALiar(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"unknown id": toID(text(id1, "")),
		"no message": frame.Header{Type: frame.Msg, Flags: frame.FlagToID}.Append(nil),
		"type":       frame.Header{Type: 200}.Append(nil),
		"length":     {1, 2, 3, 4, 5},
		"fail":       frame.Header{Type: frame.Fail}.Append(nil),
		"stop":       frame.Header{Type: frame.Stop}.Append(nil, 1),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			events := make(chan connector.Event, 10)
			cfg := f.config()
			cfg.OnEvent = func(ev connector.Event) { events <- ev }
			_, p := f.dial(cfg)
			p.raw(bytes)
			ev := get(t, events)
			assert.Equal(t, connector.EventDown, ev.Kind)
			require.ErrorIs(t, ev.Err, connector.ErrProtocol)
			p.wantEnd()
		})
	}
}

// TestAViolationBehindASlowCallbackCounts: the goroutine that found it is not
// the one that goes on reading.
func TestAViolationBehindASlowCallbackCounts(t *testing.T) {
	f := newFake(t)
	events := make(chan connector.Event, 10)
	cfg := f.config()
	cfg.OnEvent = func(ev connector.Event) { events <- ev }
	b, p := f.dial(cfg)
	hold, open := gate(t)
	register(t, b, p, id1, connector.HandlerFunc(func(context.Context, *connector.Delivery) { <-hold }))
	p.raw(append(toID(text(id1, "")), frame.Header{Type: 200}.Append(nil)...))
	require.ErrorIs(t, get(t, events).Err, connector.ErrProtocol)
	open()
}

func TestCloseOfTheBusEndsEverything(t *testing.T) {
	f, b, p := agentSide(t)
	e, ep := f.endpoint(b)
	entered := make(chan struct{})
	register(t, b, p, id1, connector.HandlerFunc(func(ctx context.Context, _ *connector.Delivery) {
		close(entered)
		<-ctx.Done() // ends with the Bus
	}))
	p.raw(append(toID(text(id1, "")), toID(text(id1, "not handled any more"))...))
	get(t, entered)
	waits := []<-chan error{
		run(func() error { _, err := e.Recv(bg); return err }),
		run(func() error { return b.Send(bg, text(id1, ""), connector.Dest{Port: 1}) }),
	}
	p.wantSend()
	require.NoError(t, b.Close())
	for _, w := range waits {
		require.ErrorIs(t, get(t, w), connector.ErrClosed)
	}
	assert.EqualValues(t, 1, b.Stats().Discarded)
	ep.wantEnd()
	p.wantEnd()
	require.ErrorIs(t, b.AddCallback(bg, id2, "", connector.HandlerFunc(func(context.Context, *connector.Delivery) {})), connector.ErrClosed)
	_, err := b.Endpoint(bg)
	require.ErrorIs(t, err, connector.ErrClosed)
	_, err = b.Watch(bg, nil)
	require.ErrorIs(t, err, connector.ErrClosed)
	_, err = b.Query(bg, "ids")
	require.ErrorIs(t, err, connector.ErrClosed)
	_, err = b.Monitor(bg)
	require.ErrorIs(t, err, connector.ErrClosed)
	require.NoError(t, b.Close())
}

// What a registration for all hosts has become is told in order, and that all is as it was not at all.
func TestStatesOfTheSiteAreToldOnceAndInOrder(t *testing.T) {
	_, b, p := agentSide(t)
	told := make(chan string, 10)
	opt := connector.SiteOptions{Changed: func(s connector.SiteState, text string) { told <- s.String() + text }}
	added := run(func() error {
		return b.AddSiteCallback(within(t), id1, "name", connector.HandlerFunc(func(context.Context, *connector.Delivery) {}), opt)
	})
	hd, _ := p.want(frame.Add)
	assert.EqualValues(t, frame.FlagSite, hd.Flags)
	p.ack(hd)
	require.NoError(t, get(t, added))
	for _, s := range []struct {
		state connector.SiteState
		text  string
	}{{connector.SiteInForce, ""}, {connector.SiteSuspended, ": away"}, {connector.SiteInForce, ""}, {connector.SiteInForce, ""}, {connector.SiteInForce, ": host2 had it"}, {connector.SiteLost, ": to host2"}, {connector.SiteInForce, ""}} {
		p.send(frame.Header{Type: frame.Site, Code: uint16(s.state)}, append(frame.AppendID(nil, id1), s.text...)...)
	}
	for _, want := range []string{"suspended: away", "in force", "in force: host2 had it", "lost: to host2", "in force"} {
		assert.Equal(t, want, get(t, told))
	}
	assert.Empty(t, told)
}
