package loopback_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var ctx = context.Background()

func open(t testing.TB, h *loopback.Hub) *loopback.Bus {
	b := h.Open()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func endpoint(t testing.TB, b *loopback.Bus, groups ...uint32) connector.Endpoint {
	ep, err := b.Endpoint(ctx)
	require.NoError(t, err)
	for _, g := range groups {
		require.NoError(t, ep.Join(ctx, g))
	}
	return ep
}

func noAllocs(t *testing.T, f func()) {
	t.Helper()
	for range 5000 {
		f() // until everything has grown
	}
	assert.Zero(t, testing.AllocsPerRun(2000, f))
}

func TestAMessageToACallbackAllocatesNothing(t *testing.T) {
	var n atomic.Int64
	count := connector.HandlerFunc(func(context.Context, *connector.Delivery) { n.Add(1) })
	m := connector.Message{ID: cbid.Make(20, 1), Data: make([]byte, 128)}
	for _, h := range []connector.Handler{count, connector.Inline(count)} {
		t.Run(fmt.Sprintf("%T", h), func(t *testing.T) {
			b := open(t, loopback.New(nil))
			require.NoError(t, b.AddCallback(ctx, m.ID, "count", h))
			ep := endpoint(t, b)
			noAllocs(t, func() {
				if ep.Post(ctx, m, connector.Dest{}) != nil {
					t.Error("post failed")
				}
			})
			require.NoError(t, b.DelCallback(ctx, m.ID))
		})
	}
	assert.EqualValues(t, 2*(5000+2001), n.Load())
}

func TestMessagesToEndpointsAllocateNothing(t *testing.T) {
	m := connector.Message{ID: cbid.Make(20, 1), Data: make([]byte, 128)}
	for _, history := range []bool{false, true} {
		t.Run(fmt.Sprintf("history %v", history), func(t *testing.T) {
			h := loopback.New(nil)
			b := open(t, h)
			require.NoError(t, b.AddCallback(ctx, m.ID, "owner", connector.HandlerFunc(func(context.Context, *connector.Delivery) {})))
			if history {
				require.NoError(t, b.SetHistory(ctx, 20, connector.History{Messages: 100}))
			}
			groups := []uint32{20, 21, 22, 23, 24, 25, 26, 27}
			members := []connector.Endpoint{endpoint(t, b, groups...), endpoint(t, b, groups...), endpoint(t, b, 20)}
			sender := endpoint(t, b)
			noAllocs(t, func() {
				for _, g := range groups {
					if b.Send(ctx, m, connector.Dest{Group: g}) != nil {
						t.Error("send failed")
					}
				}
				if sender.Send(ctx, m, connector.Dest{Port: members[2].Port()}) != nil {
					t.Error("send failed")
				}
				for i, n := range []int{8, 8, 2} {
					for range n {
						if ev, err := members[i].Recv(ctx); err != nil || len(ev.Msg.Data) != 128 {
							t.Error("recv failed")
						}
					}
				}
			})
		})
	}
}

func BenchmarkPostInline(b *testing.B) {
	bus := open(b, loopback.New(nil))
	id := cbid.Make(20, 1)
	n := 0
	h := connector.HandlerFunc(func(context.Context, *connector.Delivery) { n++ })
	require.NoError(b, bus.AddCallback(ctx, id, "count", connector.Inline(h)))
	ep := endpoint(b, bus)
	m := connector.Message{ID: id, Data: make([]byte, 128)}
	for b.Loop() {
		_ = ep.Post(ctx, m, connector.Dest{})
	}
}

func BenchmarkPostQueued(b *testing.B) {
	bus := open(b, loopback.New(nil))
	id := cbid.Make(20, 1)
	n := 0
	require.NoError(b, bus.AddCallback(ctx, id, "count", connector.HandlerFunc(func(context.Context, *connector.Delivery) { n++ })))
	ep := endpoint(b, bus)
	m := connector.Message{ID: id, Data: make([]byte, 128)}
	for b.Loop() {
		_ = ep.Post(ctx, m, connector.Dest{})
	}
}

func BenchmarkCall(b *testing.B) {
	bus := open(b, loopback.New(nil))
	echo := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) })
	require.NoError(b, bus.AddCallback(ctx, cbid.Make(20, 1), "echo", echo))
	require.NoError(b, bus.AddCallback(ctx, cbid.Make(20, 2), "echo", connector.Inline(echo)))
	ep := endpoint(b, bus)
	for i, name := range []string{"queued", "inline"} {
		b.Run(name, func(b *testing.B) {
			m := connector.Message{ID: cbid.Make(20, uint32(i+1)), Data: make([]byte, 128)}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ep.Call(ctx, m, connector.Dest{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
