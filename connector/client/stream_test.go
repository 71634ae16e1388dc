package client

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// open runs what opens a connection of its own, greets it, and answers its request.
func open[T any](t *testing.T, f *fake, dial func() (T, error), answer func(p *peer, h frame.Header, body []byte)) (T, *peer, error) {
	t.Helper()
	type result struct {
		v   T
		err error
	}
	opened := run(func() result { v, err := dial(); return result{v, err} })
	p := f.welcome(3)
	h, body := p.next()
	assert.EqualValues(t, 1, h.Tag)
	answer(p, h, body)
	r := get(t, opened)
	return r.v, p, r.err
}

func accept(p *peer, h frame.Header, _ []byte) { p.ack(h) }

func change(kind connector.ChangeKind, id cbid.ID) []byte {
	return frame.Header{Type: frame.Change, Tag: 1, Code: uint16(kind), Port: 4, Group: id.Idx, UID: 5, GID: 6, PID: 7}.
		Append(nil, frame.AppendNamed(nil, id, "who")...)
}

func TestWatch(t *testing.T) {
	f, b, _ := agentSide(t)
	set := cbid.SetOf(id1)
	request := func(p *peer, h frame.Header, body []byte) {
		assert.Equal(t, frame.Watch, h.Type)
		assert.Equal(t, frame.AppendRects(nil, set.Rects()), body)
		p.ack(h)
	}
	w, p, err := open(t, f, func() (connector.Watcher, error) { return b.Watch(within(t), set) }, request)
	require.NoError(t, err)
	p.raw(change(connector.ChangePresent, id1))
	p.send(frame.Header{Type: frame.Change, Tag: 1, Code: uint16(connector.ChangeMarker)})
	p.raw(change(connector.ChangeRemoved, id1))
	c, err := w.Next(within(t))
	require.NoError(t, err)
	info := connector.IDInfo{ID: id1, Name: "who", Group: id1.Idx, Port: 4, Owner: connector.Cred{UID: 5, GID: 6, PID: 7}}
	assert.Equal(t, connector.Change{Kind: connector.ChangePresent, Info: info}, c)
	c, _ = w.Next(within(t))
	assert.Equal(t, connector.Change{Kind: connector.ChangeMarker}, c)
	c, _ = w.Next(within(t))
	assert.Equal(t, connector.Change{Kind: connector.ChangeRemoved, Info: info}, c)

	ctx, cancel := context.WithCancel(bg)
	next := run(func() error { _, err := w.Next(ctx); return err })
	cancel()
	require.ErrorIs(t, get(t, next), context.Canceled)

	// A break, and a lie, begin it anew.
	for _, end := range []func(){func() { p.c.Close() }, func() { p.send(frame.Header{Type: frame.Change, Tag: 1, Code: 77}) }} {
		end()
		c, err = w.Next(within(t))
		require.NoError(t, err)
		assert.Equal(t, connector.ChangeResync, c.Kind)
		changed := run(func() connector.Change { c, _ := w.Next(within(t)); return c })
		p = f.welcome(3)
		h, body := p.next()
		request(p, h, body)
		p.raw(change(connector.ChangeAdded, id1))
		assert.Equal(t, connector.ChangeAdded, get(t, changed).Kind)
	}

	next = run(func() error { _, err := w.Next(bg); return err })
	require.NoError(t, w.Close())
	require.ErrorIs(t, get(t, next), connector.ErrClosed)
	p.wantEnd()
	require.NoError(t, w.Close())
}

func TestAWatchOfNothingIsNotOfEverything(t *testing.T) {
	f, b, _ := agentSide(t)
	for _, c := range []struct {
		set  *cbid.Set
		body int
	}{{nil, 0}, {cbid.NewSet(), 32}} {
		w, _, err := open(t, f, func() (connector.Watcher, error) { return b.Watch(within(t), c.set) }, func(p *peer, h frame.Header, body []byte) {
			assert.Len(t, body, c.body)
			p.ack(h)
		})
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
}

func TestARefusedWatchOrMonitor(t *testing.T) {
	f, b, _ := agentSide(t)
	no := func(p *peer, h frame.Header, _ []byte) { p.refuse(h, connector.ErrPermission) }
	lie := func(p *peer, _ frame.Header, _ []byte) { p.send(frame.Header{Type: frame.Interest}) }
	for err, answer := range map[error]func(*peer, frame.Header, []byte){connector.ErrPermission: no, connector.ErrProtocol: lie} {
		_, p, got := open(t, f, func() (connector.Watcher, error) { return b.Watch(within(t), nil) }, answer)
		require.ErrorIs(t, got, err)
		p.wantEnd()
		_, p, got = open(t, f, func() (*Monitor, error) { return b.Monitor(within(t)) }, answer)
		require.ErrorIs(t, got, err)
		p.wantEnd()
		_, p, got = open(t, f, func() ([]byte, error) { return b.Query(within(t), "ids") }, answer)
		require.ErrorIs(t, got, err)
		p.wantEnd()
	}
	// Refused after a reconnection: final.
	w, p, err := open(t, f, func() (connector.Watcher, error) { return b.Watch(within(t), nil) }, accept)
	require.NoError(t, err)
	p.c.Close()
	_, err = w.Next(within(t))
	require.NoError(t, err)
	_, _, err = open(t, f, func() (connector.Change, error) { return w.Next(within(t)) }, no)
	require.ErrorIs(t, err, connector.ErrPermission)
	_, err = w.Next(bg)
	require.ErrorIs(t, err, connector.ErrPermission)
}

func TestMonitor(t *testing.T) {
	f, b, _ := agentSide(t)
	m, p, err := open(t, f, func() (*Monitor, error) { return b.Monitor(within(t)) }, accept)
	require.NoError(t, err)
	mm := connector.Message{ID: id1, Seq: 2, Data: []byte("x")}
	body, _ := mm.MarshalBinary()
	p.send(frame.Header{
		Type: frame.Mon, Flags: frame.FlagCall, Code: connector.ErrNoID.Code(), Port: 3, Tag: 4, Group: 5, UID: 6, GID: 7, PID: 8, Pos: 1e18,
	}, body...)
	p.send(frame.Header{Type: frame.Lost, Pos: 9})
	ev, err := m.Next(within(t))
	require.NoError(t, err)
	assert.Equal(t, MonEvent{
		Time: time.Unix(1e9, 0), From: connector.From{Port: 3, Group: 5, Cred: connector.Cred{UID: 6, GID: 7, PID: 8}},
		DestPort: 4, Flags: MonCall, Err: connector.ErrNoID, Raw: body, Msg: mm,
	}, ev)
	ev, err = m.Next(within(t))
	require.NoError(t, err)
	assert.Equal(t, MonEvent{Lost: 9}, ev)
	p.c.Close()
	for range 2 {
		_, err = m.Next(within(t))
		require.ErrorIs(t, err, connector.ErrInterrupted)
	}
	require.NoError(t, m.Close())

	m, p, err = open(t, f, func() (*Monitor, error) { return b.Monitor(within(t)) }, accept)
	require.NoError(t, err)
	p.send(frame.Header{Type: frame.Mon}, 1, 2, 3)
	_, err = m.Next(within(t))
	require.ErrorIs(t, err, connector.ErrProtocol)
	require.NoError(t, m.Close())
	_, err = m.Next(within(t))
	require.ErrorIs(t, err, connector.ErrClosed)
}

func TestQuery(t *testing.T) {
	f := newFake(t)
	cfg := f.config()
	cfg.QueryBytes = 10
	b, _ := f.dial(cfg)
	query := func(answer func(p *peer, h frame.Header, body []byte)) (string, error) {
		s, _, err := open(t, f, func() ([]byte, error) { return b.Query(within(t), "ids") }, answer)
		return string(s), err
	}
	s, err := query(func(p *peer, h frame.Header, body []byte) {
		assert.Equal(t, "ids", string(body))
		p.send(frame.Header{Type: frame.Data, Tag: 1, Flags: frame.FlagMore}, []byte("[1, ")...)
		p.send(frame.Header{Type: frame.Data, Tag: 1}, []byte("2]")...)
	})
	require.NoError(t, err)
	assert.Equal(t, "[1, 2]", s)
	_, err = query(func(p *peer, _ frame.Header, _ []byte) {
		for range 3 {
			p.send(frame.Header{Type: frame.Data, Tag: 1, Flags: frame.FlagMore}, []byte("1234")...)
		}
	})
	require.ErrorIs(t, err, connector.ErrTooBig)
	_, err = query(func(p *peer, h frame.Header, _ []byte) { p.ack(h) })
	require.ErrorIs(t, err, connector.ErrProtocol)
	_, err = query(func(p *peer, _ frame.Header, _ []byte) { p.c.Close() })
	require.ErrorIs(t, err, connector.ErrInterrupted)

	// Close of the Bus ends one that is not answered.
	asked := run(func() error { _, err := b.Query(bg, "ids"); return err })
	f.welcome(3).want(frame.Query)
	require.NoError(t, b.Close())
	require.ErrorIs(t, get(t, asked), connector.ErrClosed)
}
