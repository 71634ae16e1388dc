package loopback

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestQueueAgainstModel puts and takes messages of random sizes of several
// groups: what comes out is what went in, whole, in order, with every loss counted in its place.
func TestQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		maxMessages, maxBytes := rapid.IntRange(1, 20).Draw(t, "messages"), rapid.IntRange(1, 4000).Draw(t, "bytes")
		q.init(maxMessages, maxBytes)
		next := map[uint32]uint64{}  // number of the next message sent to a group
		taken := map[uint32]uint64{} // how many of them came out or were told to be lost
		var borrowed, want []byte
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				g := rapid.Uint32Range(0, 2).Draw(t, "group")
				n := next[g]
				next[g]++
				m := connector.Message{Data: bytes.Repeat([]byte{byte(n)}, rapid.IntRange(0, 700).Draw(t, "size"))}
				m.Seq = uint32(n)
				q.put(&m, &connector.From{Group: g}, n)
			},
			"take": func(t *rapid.T) {
				require.Equal(t, want, borrowed, "what was taken last has been overwritten")
				ev, ok, _ := q.take()
				borrowed, want = nil, nil
				if !ok {
					require.Equal(t, next, taken)
					return
				}
				g := ev.From.Group
				if ev.Kind == connector.EventLost {
					require.NotZero(t, ev.Lost)
					taken[g] += ev.Lost
					return
				}
				require.Equal(t, taken[g], ev.Pos)
				require.EqualValues(t, taken[g], ev.Msg.Seq)
				for _, b := range ev.Msg.Data {
					require.Equal(t, byte(taken[g]), b)
				}
				taken[g]++
				borrowed, want = ev.Msg.Data, bytes.Clone(ev.Msg.Data)
			},
			"": func(t *rapid.T) {
				require.LessOrEqual(t, q.messages, maxMessages)
				require.True(t, q.messages <= 1 || q.bytes <= maxBytes)
				require.LessOrEqual(t, len(q.data.buf), max(4096, q.data.max))
				require.Equal(t, want, borrowed)
			},
		})
	})
}

// TestQueueWaitersKeepTheirOrder has senders wait in a known order for a full queue.
func TestQueueWaitersKeepTheirOrder(t *testing.T) {
	var q queue
	q.init(4, 1<<20)
	from := &connector.From{}
	s := &sender{ctx: context.Background(), done: make(chan struct{})}
	send := func(n int) error { return q.wait(s, &connector.Message{Seq: uint32(n)}, from, nil) }
	for n := range 4 {
		require.NoError(t, send(n))
	}
	done := make(chan error, 10)
	for n := 4; n < 10; n++ {
		go func() { done <- send(n) }()
		for waiting := 0; waiting < n-3; {
			q.mu.Lock()
			waiting = len(q.waiters)
			q.mu.Unlock()
		}
	}
	for n := range 10 {
		ev, ok, _ := q.take()
		require.True(t, ok)
		assert.EqualValues(t, n, ev.Msg.Seq)
	}
	for range 6 {
		require.NoError(t, <-done)
	}
}

func TestQueueTellsALossBehindWhatItHas(t *testing.T) {
	var q queue
	q.init(2, 1<<20)
	for n := range 5 {
		q.put(&connector.Message{Seq: uint32(n)}, &connector.From{Group: 1 + uint32(n/4)}, 0)
	}
	var got []uint64
	for {
		ev, ok, _ := q.take()
		if !ok {
			break
		}
		got = append(got, uint64(ev.From.Group), uint64(ev.Kind), ev.Lost)
	}
	assert.Equal(t, []uint64{1, 1, 0, 1, 1, 0, 1, 2, 2, 2, 2, 1}, got)
}

func TestPostsThatFailDoNotFillTheMemory(t *testing.T) {
	h := New(&Config{QueueMessages: 10})
	b := h.Open()
	defer b.Close()
	ep, err := b.Endpoint(t.Context())
	require.NoError(t, err)
	refused := 0
	for range 100 {
		if err := ep.Post(t.Context(), connector.Message{ID: cbid.Make(1, 2)}, connector.Dest{}); err != nil {
			require.True(t, errors.Is(err, connector.ErrNoID))
			refused++
		}
	}
	assert.Equal(t, 80, refused, "20 fit in the stream")
	assert.EqualValues(t, 100, h.Stats().PostFailed)
}

func TestNothingOfAClosedBusIsLeft(t *testing.T) {
	h := New(nil)
	for range 3 {
		b := h.Open()
		require.NoError(t, b.AddCallback(t.Context(), cbid.Make(20, 1), "x", connector.HandlerFunc(func(context.Context, *connector.Delivery) {})))
		ep, err := b.Endpoint(t.Context())
		require.NoError(t, err)
		for g := range uint32(10) {
			require.NoError(t, ep.Join(t.Context(), 20+g))
		}
		_, err = b.Watch(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, b.Close())
		assert.Empty(t, h.ports)
		assert.Empty(t, h.groups)
		assert.Empty(t, h.watchers)
		assert.Zero(t, h.registry.Len())
		assert.Zero(t, h.watch.Len()+h.watch.Watchers()+h.notify.Len())
		assert.Zero(t, b.memberships)
	}
}

func TestStatsCountStrangeReplies(t *testing.T) {
	h := New(nil)
	b := h.Open()
	defer b.Close()
	ep, err := b.Endpoint(t.Context())
	require.NoError(t, err)
	var last *connector.Delivery
	require.NoError(t, b.AddCallback(t.Context(), cbid.Make(20, 1), "twice", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.NoError(t, d.Reply(ctx, nil))
		assert.NoError(t, d.Reply(ctx, nil))
		last = d.Detach()
		if len(d.Msg.Data) > 0 {
			panic("part of the test")
		}
	})))
	_, err = ep.Call(t.Context(), connector.Message{ID: cbid.Make(20, 1)}, connector.Dest{})
	require.NoError(t, err)
	require.NoError(t, b.DelCallback(t.Context(), cbid.Make(20, 1)))
	assert.EqualValues(t, 1, h.Stats().Duplicate)
	forged := connector.Message{ID: last.Msg.ID, Seq: last.Msg.Seq, Ack: last.Msg.Ack + 1}
	require.NoError(t, b.Send(t.Context(), forged, connector.Dest{Port: ep.Port()}))
	assert.EqualValues(t, 2, h.Stats().Duplicate)
	other, err := b.Endpoint(t.Context())
	require.NoError(t, err)
	require.NoError(t, other.Send(t.Context(), forged, connector.Dest{Port: ep.Port()}))
	assert.EqualValues(t, 1, h.Stats().Foreign)
}
