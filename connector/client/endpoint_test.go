package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

func TestRecvGivesWhatTheBrokerSent(t *testing.T) {
	_, e, p := start(t)
	assert.EqualValues(t, 2, e.Port())
	m := connector.Message{ID: id1, Seq: 3, Ack: 4, Flags: 5, Data: []byte("hello")}
	p.raw(msg(frame.Header{Port: 8, Group: 7, UID: 10, GID: 11, PID: 12}, m))
	ev := recv(t, e)
	assert.Equal(t, connector.Event{
		Kind: connector.EventMessage, Msg: m,
		From: connector.From{Port: 8, Group: 7, Cred: connector.Cred{UID: 10, GID: 11, PID: 12}},
	}, ev)
	p.send(frame.Header{Type: frame.Lost, Group: 7, Pos: 42})
	assert.Equal(t, connector.Event{Kind: connector.EventLost, Lost: 42, From: connector.From{Group: 7}}, recv(t, e))
	p.send(frame.Header{Type: frame.Lost, Flags: frame.FlagUnknown})
	assert.True(t, recv(t, e).Unknown)
}

func TestManyMessagesInOneRead(t *testing.T) {
	_, e, p := start(t)
	const n = 3000
	var all []byte
	for i := range n {
		all = append(all, msg(frame.Header{}, connector.Message{ID: id1, Seq: uint32(i), Data: bytes.Repeat([]byte{byte(i)}, i%200)})...)
	}
	go p.raw(all)
	for i := range n {
		ev := recv(t, e)
		require.EqualValues(t, i, ev.Msg.Seq)
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, i%200), append([]byte{}, ev.Msg.Data...))
	}
}

func TestCallAndReply(t *testing.T) {
	_, e, p := start(t)
	type result struct {
		ev  connector.Event
		err error
	}
	called := run(func() result {
		ev, err := e.Call(within(t), text(id1, "question"), connector.Dest{})
		return result{ev, err}
	})
	h, m := p.wantSend()
	assert.EqualValues(t, frame.FlagCall, h.Flags)
	assert.Equal(t, "question", string(m.Data))
	p.raw(msg(frame.Header{Group: 5}, text(id2, "before")))
	p.raw(reply(m, "answer"))
	p.raw(msg(frame.Header{Group: 5}, text(id2, "after")))
	r := get(t, called)
	require.NoError(t, r.err)
	assert.Equal(t, "answer", string(r.ev.Msg.Data))
	assert.Equal(t, m.Ack+1, r.ev.Msg.Ack)
	assert.Equal(t, "before", recvText(t, e))
	assert.Equal(t, "after", recvText(t, e))
}

func TestRepliesOfManyCallsCross(t *testing.T) {
	_, e, p := start(t)
	const n = 20
	results := make(chan error, n)
	for i := range n {
		go func() {
			ev, err := e.Call(within(t), text(id1, fmt.Sprint(i)), connector.Dest{})
			if err == nil && string(ev.Msg.Data) != "re "+fmt.Sprint(i) {
				err = errors.New(string(ev.Msg.Data))
			}
			results <- err
		}()
	}
	var calls []connector.Message
	for range n {
		_, m := p.wantSend()
		calls = append(calls, m.Clone())
	}
	slices.Reverse(calls)
	for _, m := range calls {
		p.raw(reply(m, "re "+string(m.Data)))
	}
	for range n {
		require.NoError(t, get(t, results))
	}
}

func TestCallOfAnEndpointTakesItsReplyOnly(t *testing.T) {
	_, e, p := start(t)
	called := run(func() string {
		ev, err := e.Call(within(t), text(id1, "q"), connector.Dest{Port: 30})
		if err != nil {
			return err.Error()
		}
		return string(ev.Msg.Data)
	})
	_, m := p.wantSend()
	answer := connector.Message{ID: m.ID, Seq: m.Seq, Ack: m.Ack + 1, Data: []byte("forged")}
	p.raw(msg(frame.Header{Port: 31}, answer))
	p.raw(msg(frame.Header{Port: 31, Flags: frame.FlagReply}, answer))
	other := answer
	other.Ack++
	other.Data = []byte("new")
	p.raw(msg(frame.Header{Port: 30}, other))
	answer.Data = []byte("true")
	p.raw(msg(frame.Header{Port: 30}, answer))
	assert.Equal(t, "true", get(t, called))
	assert.Equal(t, "new", recvText(t, e), "what is no reply is a message")
}

func TestFailEndsItsCallOrIsAnEvent(t *testing.T) {
	_, e, p := start(t)
	called := run(func() error {
		_, err := e.Call(within(t), text(id1, "some data"), connector.Dest{})
		return err
	})
	h, body := p.want(frame.Send)
	headers := slices.Clone(body[:connector.HeaderLen])
	p.send(frame.Header{Type: frame.Fail, Flags: h.Flags, Code: connector.ErrNoID.Code()}, headers...)
	err := get(t, called)
	require.ErrorIs(t, err, connector.ErrNoID)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	assert.False(t, op.MayBeDelivered)
	assert.Equal(t, id1, op.ID)

	// The same once more is for a call that is over, and must end nothing.
	p.send(frame.Header{Type: frame.Fail, Flags: h.Flags, Code: connector.ErrNoID.Code()}, headers...)

	require.NoError(t, e.Post(bg, connector.Message{ID: id2, Seq: 9, Data: []byte("x")}, connector.Dest{Port: 40}))
	_, body = p.want(frame.Send)
	p.send(frame.Header{Type: frame.Fail, Port: 40, Code: connector.ErrNoPort.Code()}, body[:connector.HeaderLen]...)
	ev := recv(t, e)
	assert.Equal(t, connector.EventFailed, ev.Kind)
	require.ErrorIs(t, ev.Err, connector.ErrNoPort)
	assert.Equal(t, connector.Message{ID: id2, Seq: 9}, ev.Msg)
	assert.EqualValues(t, 40, ev.From.Port)
}

func TestGoneEndsTheCallsThatWereSentBefore(t *testing.T) {
	_, e, p := start(t)
	call := func(to connector.Dest) <-chan error {
		return run(func() error { _, err := e.Call(within(t), text(id1, ""), to); return err })
	}
	first := call(connector.Dest{}) // frame 2, after Hello
	p.wantSend()
	second := call(connector.Dest{}) // frame 3
	_, m := p.wantSend()
	toPort := call(connector.Dest{Port: 50})
	_, q := p.wantSend()
	p.send(frame.Header{Type: frame.Gone, Port: 60, Pos: 2}, frame.AppendID(nil, id2)...) // another id
	p.send(frame.Header{Type: frame.Gone, Port: 60, Pos: 2}, frame.AppendID(nil, id1)...)
	err := get(t, first)
	require.ErrorIs(t, err, connector.ErrAgentGone)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.MayBeDelivered)
	p.raw(reply(m, ""))
	require.NoError(t, get(t, second))
	p.send(frame.Header{Type: frame.Gone, Port: 50})
	require.ErrorIs(t, get(t, toPort), connector.ErrAgentGone)
	_ = q
}

func TestSendReturnsWithItsAck(t *testing.T) {
	_, e, p := start(t)
	sent := run(func() error {
		return e.Send(within(t), text(id1, "x"), connector.Dest{Group: 4, Full: connector.FullWait})
	})
	h, m := p.wantSend()
	assert.EqualValues(t, frame.FlagAck|frame.FlagWait, h.Flags)
	assert.EqualValues(t, 4, h.Group)
	assert.Equal(t, "x", string(m.Data))
	p.ack(frame.Header{Tag: h.Tag + 1}) // of nobody
	p.ack(h)
	require.NoError(t, get(t, sent))

	sent = run(func() error {
		return e.Send(within(t), text(id1, "x"), connector.Dest{Port: 4, Full: connector.FullDrop})
	})
	h, _ = p.wantSend()
	assert.EqualValues(t, frame.FlagAck|frame.FlagDrop, h.Flags)
	p.refuse(h, connector.ErrWouldBlock)
	require.ErrorIs(t, get(t, sent), connector.ErrWouldBlock)

	for _, bad := range []struct {
		m   connector.Message
		to  connector.Dest
		err error
	}{
		{connector.Message{Data: make([]byte, connector.MaxData+1)}, connector.Dest{}, connector.ErrTooBig},
		{connector.Message{}, connector.Dest{Port: 1, Group: 1}, connector.ErrInvalid},
	} {
		require.ErrorIs(t, e.Send(bg, bad.m, bad.to), bad.err)
		require.ErrorIs(t, e.Post(bg, bad.m, bad.to), bad.err)
		_, err := e.Call(bg, bad.m, bad.to)
		require.ErrorIs(t, err, bad.err)
	}
}

func TestTheDataOfRecvStayWhileAnotherReads(t *testing.T) {
	_, e, p := start(t)
	want := bytes.Repeat([]byte("lent"), 250)
	p.raw(msg(frame.Header{Group: 1}, connector.Message{ID: id1, Data: want}))
	ev := recv(t, e)
	// A call reads far more than the buffer holds, over and over.
	for range 20 {
		called := run(func() error { _, err := e.Call(within(t), text(id1, "q"), connector.Dest{}); return err })
		_, m := p.wantSend()
		for range 20 {
			p.raw(msg(frame.Header{Group: 1}, connector.Message{ID: id2, Data: bytes.Repeat([]byte("x"), 1000)}))
		}
		p.raw(reply(m, ""))
		require.NoError(t, get(t, called))
		require.Equal(t, want, ev.Msg.Data)
	}
	for range 400 {
		require.Len(t, recvText(t, e), 1000)
	}
}

func TestACallersContextEndsItsCallOnly(t *testing.T) {
	_, e, p := start(t)
	ctx, cancel := context.WithCancel(bg)
	reader := run(func() error { _, err := e.Call(ctx, text(id1, "1"), connector.Dest{}); return err })
	_, late := p.wantSend()
	late = late.Clone()
	waiter := run(func() error { _, err := e.Call(within(t), text(id1, "2"), connector.Dest{}); return err })
	_, m := p.wantSend()
	cancel()
	err := get(t, reader)
	require.ErrorIs(t, err, context.Canceled)
	var op *connector.OpError
	require.ErrorAs(t, err, &op)
	assert.True(t, op.MayBeDelivered)
	p.raw(reply(late, "late")) // counted, not delivered
	p.raw(reply(m, ""))
	require.NoError(t, get(t, waiter), "who waited goes on reading")
	p.raw(msg(frame.Header{}, text(id2, "m")))
	assert.Equal(t, "m", recvText(t, e))
	assert.EqualValues(t, 1, e.calls.g.Stats().Late)
}

func TestRecvEndsWithItsContext(t *testing.T) {
	_, e, p := start(t)
	for range 3 {
		ctx, cancel := context.WithCancel(bg)
		got := run(func() error { _, err := e.Recv(ctx); return err })
		cancel()
		require.ErrorIs(t, get(t, got), context.Canceled)
	}
	p.raw(msg(frame.Header{}, text(id2, "m")))
	assert.Equal(t, "m", recvText(t, e))
}

func TestRecvTakesOverFromACall(t *testing.T) {
	_, e, p := start(t)
	called := run(func() error { _, err := e.Call(within(t), text(id1, "1"), connector.Dest{}); return err })
	_, m := p.wantSend()
	m = m.Clone()
	got := run(func() string { ev, _ := e.Recv(within(t)); return string(ev.Msg.Data) })
	p.raw(msg(frame.Header{Group: 1}, text(id2, "for Recv")))
	assert.Equal(t, "for Recv", get(t, got))
	p.raw(reply(m, ""))
	require.NoError(t, get(t, called))
}

func TestHoldAndResume(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.PendingBytes = 4000
	b, _ := f.dial(cfg)
	e, p := f.endpoint(b)
	called := run(func() error { _, err := e.Call(within(t), text(id1, ""), connector.Dest{}); return err })
	_, m := p.wantSend()
	m = m.Clone()
	one := msg(frame.Header{Group: 1}, connector.Message{ID: id2, Data: make([]byte, 924)}) // 1000 bytes
	for range 4 {
		p.raw(one)
	}
	p.raw(one)
	_, body := p.want(frame.Hold)
	assert.Empty(t, body, "the port itself")
	p.raw(one)
	p.raw(reply(m, ""))
	require.NoError(t, get(t, called), "replies pass")
	for i := range 6 {
		if i == 4 {
			_, body := p.want(frame.Resume)
			assert.Empty(t, body)
		}
		recvText(t, e)
	}
}

func TestRepliesThatNobodyReceivesAreDroppedCountedAndTold(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.PendingBytes = 1000
	b, _ := f.dial(cfg)
	e, p := f.endpoint(b)
	pinged := run(func() error { return e.Ping(within(t)) })
	h, _ := p.want(frame.Ping)
	for i := range 20 {
		p.raw(msg(frame.Header{Flags: frame.FlagReply}, connector.Message{ID: id1, Seq: uint32(i), Data: make([]byte, 424)})) // 500 bytes
	}
	p.raw(msg(frame.Header{}, text(id1, "another")))
	p.ack(h)
	require.NoError(t, get(t, pinged))
	for i := range 9 {
		require.EqualValues(t, i, recv(t, e).Msg.Seq)
	}
	assert.Equal(t, connector.Event{Kind: connector.EventLost, Lost: 11}, recv(t, e))
	assert.Equal(t, "another", recvText(t, e))
}

func TestStopAndGo(t *testing.T) {
	_, e, p := start(t)
	p.send(frame.Header{Type: frame.Stop, Port: 70})
	p.send(frame.Header{Type: frame.Stop, Group: 71})
	p.send(frame.Header{Type: frame.Stop}, frame.AppendID(nil, id1)...)
	p.raw(msg(frame.Header{}, text(id2, "m")))
	recvText(t, e) // has read Stop
	toPort, toGroup, toID := connector.Dest{Port: 70}, connector.Dest{Group: 71, Full: connector.FullWait}, connector.Dest{}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	for _, to := range []connector.Dest{toPort, toGroup, toID} {
		require.ErrorIs(t, e.Post(ctx, text(id1, "x"), to), context.Canceled)
	}
	// Others are not stopped, nor is what may be dropped.
	for _, to := range []connector.Dest{{Port: 71}, {Group: 71}, {Port: 70, Full: connector.FullDrop}, {Full: connector.FullDrop}} {
		require.NoError(t, e.Post(bg, text(id1, "passes"), to))
		_, m := p.wantSend()
		require.Equal(t, "passes", string(m.Data))
	}
	require.NoError(t, e.Post(bg, text(id2, "passes"), toID))
	p.wantSend()

	posted := run(func() error { return e.Post(within(t), text(id1, "port"), toPort) })
	called := run(func() error { _, err := e.Call(within(t), text(id1, "id"), toID); return err })
	p.send(frame.Header{Type: frame.Go, Port: 70})
	h, m := p.wantSend()
	assert.EqualValues(t, 70, h.Port)
	assert.Equal(t, "port", string(m.Data))
	require.NoError(t, get(t, posted))
	p.send(frame.Header{Type: frame.Go}, frame.AppendID(nil, id1)...)
	_, m = p.wantSend()
	assert.Equal(t, "id", string(m.Data))
	p.raw(reply(m, ""))
	require.NoError(t, get(t, called))
}

func TestAPosterSeesStopWithoutReceiving(t *testing.T) {
	_, e, p := start(t)
	p.send(frame.Header{Type: frame.Stop, Port: 70})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.swallow()
	}()
	for range 2 * readAhead / 1000 {
		require.NoError(t, e.Post(bg, connector.Message{ID: id1, Data: make([]byte, 1000)}, connector.Dest{Port: 71}))
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	assert.EqualValues(t, 1, e.stops.n.Load())
	require.ErrorIs(t, e.Post(ctx, text(id1, ""), connector.Dest{Port: 70}), context.Canceled)
	require.NoError(t, e.Close())
	get(t, drained)
}

// TestTwoFullPartiesDoNotWaitForEachOther: the broker does not read before all
// that it sends is read, and sends more than any socket buffer holds.
func TestTwoFullPartiesDoNotWaitForEachOther(t *testing.T) {
	_, e, p := start(t)
	const n = 4 << 20 / 1000
	posted := run(func() error {
		for range n {
			if err := e.Post(within(t), connector.Message{ID: id1, Data: make([]byte, 1000)}, connector.Dest{Port: 3}); err != nil {
				return err
			}
		}
		return nil
	})
	// Hold comes when enough waits; the fake ignores it.
	for range n / 4 {
		p.raw(msg(frame.Header{}, connector.Message{ID: id2, Data: make([]byte, 1000)}))
	}
	for got := 0; got < n; {
		switch h, _ := p.next(); h.Type {
		case frame.Send:
			got++
		case frame.Ping:
			p.ack(h)
		}
	}
	require.NoError(t, get(t, posted))
	go p.swallow()
	for range n / 4 {
		require.Len(t, recvText(t, e), 1000)
	}
}

func TestWaitingForRoomEndsWithTheContext(t *testing.T) {
	_, e, _ := start(t)
	ctx, cancel := context.WithCancel(bg)
	posted := run(func() error {
		for {
			if err := e.Post(ctx, connector.Message{ID: id1, Data: make([]byte, 16000)}, connector.Dest{Port: 3}); err != nil {
				return err
			}
			if l := e.link.Load(); l != nil {
				if ok, _ := l.w.room(17000); !ok {
					cancel() // full: nobody reads the other end
				}
			}
		}
	})
	require.ErrorIs(t, get(t, posted), context.Canceled)
}
