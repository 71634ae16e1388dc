package client

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func TestABrokenConnectionIsToldInOrder(t *testing.T) {
	f, e, p := start(t)
	p.raw(msg(frame.Header{}, text(id1, "1")))
	p.raw(msg(frame.Header{}, text(id1, "2"))[:50]) // and half a message
	require.NoError(t, p.c.Close())
	assert.Equal(t, "1", recvText(t, e))
	ev := recv(t, e)
	assert.Equal(t, connector.EventDown, ev.Kind)
	require.ErrorIs(t, ev.Err, connector.ErrInterrupted)

	up := run(func() connector.Event { return recv(t, e) })
	p = f.welcome(22)
	assert.Equal(t, connector.EventUp, get(t, up).Kind)
	assert.EqualValues(t, 22, e.Port())
	p.raw(msg(frame.Header{}, text(id1, "3")))
	assert.Equal(t, "3", recvText(t, e), "nothing is left of the half message")
}

func TestAByeIsTheCause(t *testing.T) {
	_, e, p := start(t)
	p.send(frame.Header{Type: frame.Bye, Code: connector.ErrShutdown.Code()}, []byte("going home")...)
	ev := recv(t, e)
	assert.Equal(t, connector.EventDown, ev.Kind)
	require.ErrorIs(t, ev.Err, connector.ErrShutdown)
	require.ErrorIs(t, ev.Err, connector.ErrInterrupted)
	assert.ErrorContains(t, ev.Err, "going home")
}

func TestOperationsUnderWayEndWithABreak(t *testing.T) {
	_, e, p := start(t)
	called := run(func() error { _, err := e.Call(within(t), text(id1, ""), connector.Dest{}); return err })
	p.wantSend()
	sent := run(func() error { return e.Send(within(t), text(id1, ""), connector.Dest{Port: 5}) })
	p.wantSend()
	require.NoError(t, p.c.Close())
	for _, c := range []<-chan error{called, sent} {
		err := get(t, c)
		require.ErrorIs(t, err, connector.ErrInterrupted)
		var op *connector.OpError
		require.ErrorAs(t, err, &op)
		assert.True(t, op.MayBeDelivered)
	}
}

// TestWhatHasNotLeftWasNotDelivered: the broker does not read, so that the
// last frames stay in this process.
func TestWhatHasNotLeftWasNotDelivered(t *testing.T) {
	f, e, p := start(t)
	posts := 0
	for {
		l := e.link.Load()
		if ok, _ := l.w.room(17000); !ok {
			break
		}
		require.NoError(t, e.Post(bg, connector.Message{ID: id1, Seq: uint32(posts), Data: make([]byte, 16000)}, connector.Dest{Port: 3}))
		posts++
	}
	called := run(func() error { _, err := e.Call(within(t), text(id1, ""), connector.Dest{}); return err })
	for e.calls.g.Stats().Outstanding == 0 { // it is in the buffer behind them: a small frame has room
		select {
		case err := <-called:
			require.NoError(t, err)
		default:
		}
	}
	require.NoError(t, p.c.Close())
	err := get(t, called)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	if !errors.Is(err, connector.ErrInterrupted) {
		require.NoError(t, err)
	}
	assert.False(t, op.MayBeDelivered)
	next := -1
	for {
		ev := recv(t, e)
		if ev.Kind == connector.EventDown {
			break
		}
		require.Equal(t, connector.EventFailed, ev.Kind)
		require.ErrorIs(t, ev.Err, connector.ErrInterrupted)
		if next >= 0 {
			require.EqualValues(t, next, ev.Msg.Seq, "each post that has not left, in order")
		}
		next = int(ev.Msg.Seq) + 1
	}
	assert.Equal(t, posts, next, "up to the last")
	_ = f
}

func TestMembershipsAreRestored(t *testing.T) {
	f, e, p := start(t)
	join := func(group uint32, at *connector.Position, pos, epoch uint64) {
		done := run(func() error {
			if at != nil {
				return e.JoinAt(within(t), group, *at)
			}
			return e.Join(within(t), group)
		})
		h, body := p.want(frame.Join)
		assert.Equal(t, group, h.Group)
		if at != nil {
			assert.EqualValues(t, frame.FlagAt, h.Flags)
			assert.Equal(t, at.Pos, h.Pos)
			assert.Equal(t, frame.AppendU64s(nil, at.Epoch), body)
		}
		p.joined(h, pos, epoch)
		require.NoError(t, get(t, done))
	}
	join(10, nil, 0, 0)
	join(11, nil, 100, 5)
	join(12, &connector.Position{Epoch: 5, Pos: 3}, 50, 5)
	join(13, nil, 0, 0)
	join(14, nil, 20, 5)
	assert.EqualValues(t, 5, e.Epoch(11))
	assert.Zero(t, e.Epoch(10))

	done := run(func() error { return e.Leave(within(t), 13) })
	h, _ := p.want(frame.Leave)
	assert.EqualValues(t, 13, h.Group)
	p.ack(h)
	require.NoError(t, get(t, done))

	p.raw(msg(frame.Header{Group: 11, Pos: 101}, text(id1, "101")))
	assert.Equal(t, "101", recvText(t, e))
	p.send(frame.Header{Type: frame.Lost, Group: 12, Pos: 4}) // 4 to 7
	assert.EqualValues(t, 4, recv(t, e).Lost)
	require.NoError(t, p.c.Close())
	assert.Equal(t, connector.EventDown, recv(t, e).Kind)

	up := run(func() connector.Event { return recv(t, e) })
	p = f.welcome(3)
	pos := map[uint32]uint64{}
	var joins []frame.Header
	for range 4 {
		h, body := p.want(frame.Join)
		if h.Flags == frame.FlagAt {
			assert.Equal(t, frame.AppendU64s(nil, 5), body)
			pos[h.Group] = h.Pos
		}
		joins = append(joins, h)
	}
	assert.Equal(t, map[uint32]uint64{11: 101, 12: 7, 14: 20}, pos, "after the last message read")
	for i, h := range joins {
		switch h.Group {
		case 10:
			p.joined(h, 0, 0)
		case 14:
			p.refuse(h, connector.ErrPermission)
		default:
			p.joined(h, 200, 5)
		}
		if i == 0 { // messages may come between the answers
			p.raw(msg(frame.Header{Group: 11, Pos: 102}, text(id1, "102")))
			p.raw(msg(frame.Header{Group: 11, Pos: 103, Port: 2}, text(id1, "sent by this endpoint before")))
		}
	}
	p.raw(msg(frame.Header{Group: 11, Pos: 104}, text(id1, "104")))
	assert.Equal(t, connector.EventUp, get(t, up).Kind)
	ev := recv(t, e)
	assert.Equal(t, connector.Event{Kind: connector.EventLost, Unknown: true, From: connector.From{Group: 10}}, ev)
	var got []string
	for range 3 {
		ev := recv(t, e)
		if ev.Kind == connector.EventFailed {
			require.ErrorIs(t, ev.Err, connector.ErrPermission)
			assert.EqualValues(t, 14, ev.From.Group)
			continue
		}
		got = append(got, string(ev.Msg.Data))
	}
	assert.Equal(t, []string{"102", "104"}, got)
}

func TestAGroupThatBeganAHistoryIsResumed(t *testing.T) {
	f, e, p := start(t)
	done := run(func() error { return e.Join(within(t), 10) })
	h, _ := p.want(frame.Join)
	p.joined(h, 0, 0)
	require.NoError(t, get(t, done))
	p.raw(msg(frame.Header{Group: 10, Pos: 1}, text(id1, "1")))
	recvText(t, e)
	h, _ = p.want(frame.Join) // asks for the epoch
	p.joined(h, 1, 6)
	p.raw(msg(frame.Header{Group: 10, Pos: 2}, text(id1, "2")))
	recvText(t, e)
	assert.EqualValues(t, 6, e.Epoch(10))
	require.NoError(t, p.c.Close())
	assert.Equal(t, connector.EventDown, recv(t, e).Kind)
	up := run(func() connector.Event { return recv(t, e) })
	p = f.welcome(3)
	h, body := p.want(frame.Join)
	assert.EqualValues(t, 2, h.Pos)
	assert.Equal(t, frame.AppendU64s(nil, 6), body)
	p.joined(h, 2, 6)
	assert.Equal(t, connector.EventUp, get(t, up).Kind)
}

func TestAnyOperationReconnects(t *testing.T) {
	f, e, p := start(t)
	require.NoError(t, p.c.Close())
	assert.Equal(t, connector.EventDown, recv(t, e).Kind)
	for _, op := range []func() error{
		func() error { return e.Post(within(t), text(id1, ""), connector.Dest{Port: 1}) },
		func() error { return e.Send(within(t), text(id1, ""), connector.Dest{Port: 1}) },
		func() error { _, err := e.Call(within(t), text(id1, ""), connector.Dest{}); return err },
		func() error { return e.Ping(within(t)) },
	} {
		done := run(op)
		p = f.accept()
		_ = p.c.Close() // an attempt that fails
		p = f.welcome(5)
		h, body := p.next()
		switch {
		case h.Type == frame.Ping || h.Flags&frame.FlagAck != 0:
			p.ack(h)
		case h.Flags&frame.FlagCall != 0:
			m, err := connector.ParseExact(body)
			require.NoError(t, err)
			p.raw(reply(m, ""))
		}
		require.NoError(t, get(t, done))
		assert.Equal(t, connector.EventUp, recv(t, e).Kind)
		require.NoError(t, p.c.Close())
		assert.Equal(t, connector.EventDown, recv(t, e).Kind)
	}
}

func TestARequestIsMadeAgainOnTheNextConnection(t *testing.T) {
	f, e, p := start(t)
	done := run(func() error { return e.Join(within(t), 10) })
	p.want(frame.Join)
	require.NoError(t, p.c.Close())
	p = f.welcome(3)
	h, _ := p.want(frame.Join)
	p.joined(h, 0, 0)
	require.NoError(t, get(t, done))
}

func TestReconnectingEndsWithTheContextAndWithClose(t *testing.T) {
	f, e, p := start(t)
	require.NoError(t, f.l.Close())
	require.NoError(t, p.c.Close())
	assert.Equal(t, connector.EventDown, recv(t, e).Kind)
	ctx, cancel := context.WithCancel(bg)
	got := run(func() error { _, err := e.Recv(ctx); return err })
	other := run(func() error { return e.Post(bg, text(id1, ""), connector.Dest{}) })
	cancel()
	require.ErrorIs(t, get(t, got), context.Canceled)
	require.NoError(t, e.Close())
	require.ErrorIs(t, get(t, other), connector.ErrClosed)
}

func TestReconnectDisabled(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.Reconnect.Disabled = true
	b, ap := f.dial(cfg)
	e, p := f.endpoint(b)
	require.NoError(t, p.c.Close())
	assert.Equal(t, connector.EventDown, recv(t, e).Kind)
	_, err := e.Recv(bg)
	require.ErrorIs(t, err, connector.ErrInterrupted)
	require.ErrorIs(t, e.Post(bg, text(id1, ""), connector.Dest{}), connector.ErrInterrupted)
	_, err = e.Call(bg, text(id1, ""), connector.Dest{})
	require.ErrorIs(t, err, connector.ErrInterrupted)

	require.NoError(t, ap.c.Close())
	require.ErrorIs(t, b.Ping(within(t)), connector.ErrInterrupted)
}

func TestCloseEndsEverythingThatWaits(t *testing.T) {
	_, e, p := start(t)
	p.send(frame.Header{Type: frame.Stop, Port: 70})
	waits := []<-chan error{
		run(func() error { _, err := e.Call(bg, text(id1, ""), connector.Dest{}); return err }),
		run(func() error { return e.Send(bg, text(id1, ""), connector.Dest{Port: 1}) }),
		run(func() error { return e.Join(bg, 4) }),
	}
	for range waits {
		p.next()
	}
	waits = append(
		waits,
		run(func() error { _, err := e.Recv(bg); return err }),
		run(func() error {
			for {
				if err := e.Post(bg, text(id1, ""), connector.Dest{Port: 70}); err != nil {
					return err
				}
			}
		}),
	)
	require.NoError(t, e.Close())
	for _, w := range waits {
		require.ErrorIs(t, get(t, w), connector.ErrClosed)
	}
	require.NoError(t, e.Close())
	p.c.Close()
	_, err := e.Recv(bg)
	require.ErrorIs(t, err, connector.ErrClosed)
}

func TestCloseWritesWhatWasPosted(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.Linger = patience
	b, ap := f.dial(cfg)
	e, p := f.endpoint(b)
	const n = 2000
	posted := run(func() error {
		for range n {
			if err := e.Post(within(t), connector.Message{ID: id1, Data: make([]byte, 1000)}, connector.Dest{Port: 70}); err != nil {
				return err
			}
		}
		return e.Close()
	})
	for range n {
		p.wantSend()
	}
	p.wantEnd()
	require.NoError(t, p.c.Close())
	require.NoError(t, get(t, posted))

	closed := run(b.Close)
	ap.wantEnd()
	select {
	case <-closed:
		assert.Fail(t, "Close did not wait for the broker")
	default:
	}
	require.NoError(t, ap.c.Close())
	require.NoError(t, get(t, closed))
}

func TestABrokerThatLiesIsLeft(t *testing.T) {
	whole := msg(frame.Header{}, text(id1, "some data"))
	for name, b := range map[string][]byte{
		"length":           {39, 0, 0, 0},
		"type":             frame.Header{Type: 99}.Append(nil),
		"type of a client": frame.Header{Type: frame.Send}.Append(nil),
		"type 0":           frame.Header{}.Append(nil),
		"message":          append(frame.Header{Type: frame.Msg}.Append(nil, whole[frame.HeaderLen:]...), 0)[:0:0],
		"message cut":      frame.Header{Type: frame.Msg}.Append(nil, whole[frame.HeaderLen:len(whole)-1]...),
		"no message":       frame.Header{Type: frame.Msg}.Append(nil),
		"for an id":        msg(frame.Header{Flags: frame.FlagToID}, text(id1, "")),
		"fail":             frame.Header{Type: frame.Fail}.Append(nil, 1, 2),
		"stop for nobody":  frame.Header{Type: frame.Stop}.Append(nil),
		"stop for both":    frame.Header{Type: frame.Stop, Port: 1, Group: 1}.Append(nil),
		"stop body":        frame.Header{Type: frame.Stop}.Append(nil, 1, 2, 3),
		"gone":             frame.Header{Type: frame.Gone}.Append(nil, 1),
		"lost":             frame.Header{Type: frame.Lost}.Append(nil, 1),
		"second welcome":   frame.Header{Type: frame.Welcome, Port: 4}.Append(nil),
		"change":           frame.Header{Type: frame.Change}.Append(nil),
	} {
		if len(b) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, e, p := start(t)
			p.raw(b)
			ev := recv(t, e)
			assert.Equal(t, connector.EventDown, ev.Kind)
			require.ErrorIs(t, ev.Err, connector.ErrProtocol)
			p.wantEnd()
		})
	}
}

func TestAnAnswerToJoinWithoutAnEpochIsALie(t *testing.T) {
	_, e, p := start(t)
	done := run(func() error {
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		go func() {
			for ev, err := e.Recv(within(t)); err == nil; ev, err = e.Recv(within(t)) {
				if ev.Kind == connector.EventDown && errors.Is(ev.Err, connector.ErrProtocol) {
					cancel()
					return
				}
			}
		}()
		return e.Join(ctx, 4)
	})
	h, _ := p.want(frame.Join)
	p.ack(h)
	require.ErrorIs(t, get(t, done), context.Canceled)
}
