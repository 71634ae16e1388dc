package connector

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

// padded keeps the handlers' counters of two ids apart.
type padded struct {
	_ [128]byte
	n uint64
	_ [128]byte
}

func (p *padded) Handle(_ context.Context, d *Delivery) { p.n += uint64(len(d.Msg.Data)) }

// rwRegistry is what one would write first: a map and a lock.
type rwRegistry struct {
	mu sync.RWMutex
	m  map[cbid.ID]Handler
}

func (r *rwRegistry) Dispatch(ctx context.Context, d *Delivery, _ WhenFull) error {
	r.mu.RLock()
	h := r.m[d.Msg.ID]
	r.mu.RUnlock()
	if h == nil {
		return ErrNoID
	}
	h.Handle(ctx, d)
	return nil
}

type dispatcher interface {
	Dispatch(ctx context.Context, d *Delivery, full WhenFull) error
}

const benchIDs = 64

func benchRegistry(b testing.TB) *Registry {
	r := NewRegistry(b.Context(), nil)
	for i := range benchIDs {
		_, err := r.Add(IDInfo{ID: cbid.Make(uint32(i), 7)}, new(padded))
		require.NoError(b, err)
	}
	return r
}

func benchRW() *rwRegistry {
	r := &rwRegistry{m: make(map[cbid.ID]Handler)}
	for i := range benchIDs {
		r.m[cbid.Make(uint32(i), 7)] = new(padded)
	}
	return r
}

func benchOne(b *testing.B, r dispatcher) {
	d := &Delivery{Msg: Message{ID: cbid.Make(3, 7), Data: make([]byte, 128)}}
	b.ReportAllocs()
	for b.Loop() {
		if r.Dispatch(b.Context(), d, FullDefault) != nil {
			b.Fatal("not registered")
		}
	}
}

// benchTwo has two publishers, to the same id or each to its own.
func benchTwo(b *testing.B, r dispatcher, same bool) {
	var publishers atomic.Uint32
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		d := &Delivery{Msg: Message{ID: cbid.Make(3+publishers.Add(1), 7), Data: make([]byte, 128)}}
		if same {
			d.Msg.ID.Idx = 3
		}
		ctx := b.Context()
		for pb.Next() {
			if r.Dispatch(ctx, d, FullDefault) != nil {
				b.Error("not registered")
				return
			}
		}
	})
}

// One and two publishers against a map under RWMutex, 128 bytes.
func BenchmarkDispatch(b *testing.B) {
	b.Run("one", func(b *testing.B) { benchOne(b, benchRegistry(b)) })
	b.Run("one/rwmutex", func(b *testing.B) { benchOne(b, benchRW()) })
	b.Run("two", func(b *testing.B) { benchTwo(b, benchRegistry(b), false) })
	b.Run("two/rwmutex", func(b *testing.B) { benchTwo(b, benchRW(), false) })
	b.Run("two-same-id", func(b *testing.B) { benchTwo(b, benchRegistry(b), true) })
}

func BenchmarkLookup(b *testing.B) {
	r := benchRegistry(b)
	id := cbid.Make(3, 7)
	for b.Loop() {
		if r.Lookup(id) == nil {
			b.Fatal("not registered")
		}
	}
}
