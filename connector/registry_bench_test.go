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

// serial is a handler that runs one at a time, as those of a Registry do.
type serial struct {
	mu sync.Mutex
	padded
}

func (s *serial) Handle(ctx context.Context, d *Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.padded.Handle(ctx, d)
}

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

func benchRW(h func() Handler) *rwRegistry {
	r := &rwRegistry{m: make(map[cbid.ID]Handler)}
	for i := range benchIDs {
		r.m[cbid.Make(uint32(i), 7)] = h()
	}
	return r
}

func newPadded() Handler { return new(padded) }
func newSerial() Handler { return new(serial) }

func benchOne(b *testing.B, r dispatcher) {
	d := &Delivery{Msg: Message{ID: cbid.Make(3, 7), Data: make([]byte, 128)}}
	b.ReportAllocs()
	ctx := b.Context()
	for b.Loop() {
		if r.Dispatch(ctx, d, FullDefault) != nil {
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

// One and two publishers against a map under RWMutex, whose callbacks may overlap, and with a
// lock in each callback, which is what a Registry promises. 128 bytes.
func BenchmarkDispatch(b *testing.B) {
	b.Run("one", func(b *testing.B) { benchOne(b, benchRegistry(b)) })
	b.Run("one/rwmutex", func(b *testing.B) { benchOne(b, benchRW(newPadded)) })
	b.Run("one/rwmutex-serial", func(b *testing.B) { benchOne(b, benchRW(newSerial)) })
	b.Run("two", func(b *testing.B) { benchTwo(b, benchRegistry(b), false) })
	b.Run("two/rwmutex", func(b *testing.B) { benchTwo(b, benchRW(newPadded), false) })
	b.Run("two/rwmutex-serial", func(b *testing.B) { benchTwo(b, benchRW(newSerial), false) })
	b.Run("two-same-id", func(b *testing.B) { benchTwo(b, benchRegistry(b), true) })
	b.Run("two-same-id/rwmutex-serial", func(b *testing.B) { benchTwo(b, benchRW(newSerial), true) })
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
