package connector

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

// The table against a map, with growth, gravestones and shrinking.
func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		model := make(map[uint64]*Entry)
		key := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Just(uint64(1<<64-1)), rapid.Custom(func(t *rapid.T) uint64 {
			return uint64(rapid.IntRange(0, 400).Draw(t, "idx")) << 32
		}))
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				if k := key.Draw(t, "key"); model[k] == nil {
					model[k] = new(Entry)
					tab.put(k, model[k])
				}
			},
			"put many": func(t *rapid.T) {
				from := rapid.Uint64Range(1000, 2000).Draw(t, "from")
				for k := from; k < from+300; k++ {
					if model[k] == nil {
						model[k] = new(Entry)
						tab.put(k, model[k])
					}
				}
			},
			"remove": func(t *rapid.T) {
				if k := key.Draw(t, "key"); model[k] != nil {
					delete(model, k)
					tab.remove(k)
				}
			},
			"remove many": func(t *rapid.T) {
				for k := range model {
					if k%3 != 0 {
						delete(model, k)
						tab.remove(k)
					}
				}
			},
			"": func(t *rapid.T) {
				k := key.Draw(t, "key")
				require.Same(t, model[k], tab.get(k))
				n := 0
				tab.all(func(e *Entry) bool { n++; return true })
				require.Equal(t, len(model), n)
				require.Equal(t, len(model), tab.live)
				if s := tab.current.Load(); s != nil {
					require.Less(t, tab.used, len(s.slot), "an empty slot ends every search")
				}
			},
		})
	})
}

func TestTenThousandIDs(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	const n = 10000
	entries := make([]*Entry, n)
	for i := range n {
		entries[i] = mustAdd(t, r, cbid.Make(uint32(i%7), uint32(i)), nothing)
	}
	longest := 0
	s := r.table.current.Load()
	for i := range n {
		key := cbid.Make(uint32(i%7), uint32(i)).Key()
		steps := 1
		for at := s.start(key); s.slot[at].key != key || s.slot[at].entry.Load() == nil; at = (at + 1) & uint64(len(s.slot)-1) {
			steps++
		}
		longest = max(longest, steps)
	}
	assert.Less(t, longest, 200, "no search is long")
	assert.LessOrEqual(t, len(s.slot), 4*n)
	for i, e := range entries {
		require.Same(t, e, r.Lookup(e.Info().ID))
		require.NoError(t, r.Del(t.Context(), e))
		require.Nil(t, r.Lookup(e.Info().ID))
		_ = i
	}
	assert.Zero(t, r.Len())
	assert.Len(t, r.table.current.Load().slot, minSlots, "the memory is given back")
}

// Readers see every id that is registered all the time, whatever is added and
// removed around it.
func TestLookupDuringChanges(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	stay := mustAdd(t, r, cbid.Make(1, 1), nothing)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r.Lookup(cbid.Make(1, 1)) != stay {
				t.Error("an id was not found")
				return
			}
			for i := range 100 {
				if r.Lookup(cbid.Make(3, uint32(i))) != nil {
					t.Error("an id that is not registered was found")
					return
				}
			}
			if err := r.Dispatch(t.Context(), numbered(cbid.Make(2, 5), 0), FullDefault); err != nil {
				assert.ErrorIs(t, err, ErrNoID)
			}
		}
	})
	for round := range 50 {
		var added []*Entry
		for i := range 100 {
			added = append(added, mustAdd(t, r, cbid.Make(2, uint32(i+round)), nothing))
		}
		for _, e := range added {
			require.NoError(t, r.Del(t.Context(), e))
		}
	}
	close(stop)
	wg.Wait()
}
