package connector

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

func info(idx, val uint32, name string) IDInfo {
	return IDInfo{ID: cbid.Make(idx, val), Group: idx, Name: name}
}

// read returns what Next gives until there is nothing.
func read(t *WatchTable, w uint64) string {
	var s []string
	for {
		c, ok := t.Next(w)
		if !ok {
			return strings.Join(s, " ")
		}
		s = append(s, strings.TrimSuffix(fmt.Sprint(c.Kind, c.Info.Name), " "))
	}
}

func TestWatchStream(t *testing.T) {
	wt := NewWatchTable(0)
	wt.IDAdded(info(1, 1, "a"))
	wt.IDAdded(info(1, 2, "b"))
	require.NoError(t, wt.Add(7, nil))
	require.ErrorIs(t, wt.Add(7, nil), ErrDuplicate)
	require.NoError(t, wt.Add(8, cbid.SetOf(cbid.Make(1, 2), cbid.Make(1, 3))))
	assert.Equal(t, "presenta presentb marker", read(wt, 7))
	assert.Equal(t, "presentb marker", read(wt, 8), "only the ids of the set")

	wt.IDAdded(info(1, 3, "c"))
	assert.True(t, wt.IDRemoved(cbid.Make(1, 1)))
	assert.False(t, wt.IDRemoved(cbid.Make(1, 1)))
	wt.IDAdded(info(1, 3, "d")) // anew
	assert.Equal(t, "addedc removeda removedc addedd", read(wt, 7))
	assert.Equal(t, "addedc removedc addedd", read(wt, 8))
	assert.Empty(t, read(wt, 7))
	assert.Equal(t, 2, wt.Len())

	assert.True(t, wt.Resync(7))
	assert.Equal(t, "resync presentb presentd marker", read(wt, 7))
	assert.True(t, wt.Remove(7))
	assert.False(t, wt.Remove(7))
	assert.False(t, wt.Resync(7))
	_, ok := wt.Next(7)
	assert.False(t, ok)
	assert.Equal(t, 1, wt.Watchers())
}

// A watcher that reads its present state slowly sees each id once.
func TestWatchChangesDuringState(t *testing.T) {
	wt := NewWatchTable(0)
	for i, name := range []string{"a", "b", "c", "d"} {
		wt.IDAdded(info(1, uint32(i), name))
	}
	require.NoError(t, wt.Add(1, nil))
	var got []string
	next := func() {
		c, ok := wt.Next(1)
		require.True(t, ok)
		got = append(got, fmt.Sprint(c.Kind, c.Info.Name))
	}
	next()
	next()
	wt.IDRemoved(cbid.Make(1, 0))    // told of: its removal follows the marker
	wt.IDRemoved(cbid.Make(1, 2))    // not told of: never was
	wt.IDAdded(info(0, 9, "before")) // behind the cursor: follows the marker
	wt.IDAdded(info(2, 0, "after"))  // will be present
	assert.Equal(t, "presenta presentb", strings.Join(got, " "))
	assert.Equal(t, "presentd presentafter marker removeda addedbefore", read(wt, 1))
}

func TestWatchOverflow(t *testing.T) {
	wt := NewWatchTable(4)
	require.NoError(t, wt.Add(1, nil))
	assert.Equal(t, "marker", read(wt, 1))
	for i := range 4 {
		wt.IDAdded(info(1, uint32(i), "x"))
	}
	assert.Equal(t, "addedx addedx addedx addedx", read(wt, 1), "as many as the backlog holds")
	for i := range 5 {
		wt.IDRemoved(cbid.Make(1, uint32(i)))
		wt.IDAdded(info(2, uint32(i), "y"))
	}
	assert.Equal(t, "resync presenty presenty presenty presenty presenty marker", read(wt, 1))
	assert.Empty(t, read(wt, 1))
}

func TestWatchControlID(t *testing.T) {
	wt := NewWatchTable(0)
	wt.IDAdded(IDInfo{ID: cbid.Control, Name: "control"})
	require.NoError(t, wt.Add(1, nil))
	assert.Equal(t, "presentcontrol marker", read(wt, 1), "the highest id does not begin it anew")
	require.NoError(t, wt.Add(2, nil))
	_, _ = wt.Next(2)
	wt.IDRemoved(cbid.Control)
	wt.IDAdded(info(0, 0, "zero"))
	assert.Equal(t, "marker removedcontrol addedzero", read(wt, 2))
}

func TestWatchReady(t *testing.T) {
	wt := NewWatchTable(0)
	ready := func() (all []uint64) {
		for {
			w, ok := wt.Ready()
			if !ok {
				return all
			}
			all = append(all, w)
		}
	}
	require.NoError(t, wt.Add(1, nil))
	require.NoError(t, wt.Add(2, cbid.SetOf(cbid.CIFS)))
	require.NoError(t, wt.Add(3, nil))
	wt.Remove(3)
	assert.Equal(t, []uint64{1, 2}, ready(), "each has its present state to tell")
	assert.Empty(t, ready())
	read(wt, 1)
	read(wt, 2)
	assert.Empty(t, ready())
	wt.IDAdded(info(1, 1, "a"))
	wt.IDAdded(info(1, 2, "b"))
	assert.Equal(t, []uint64{1}, ready(), "once, and only whom it concerns")
	wt.IDAdded(info(1, 3, "c"))
	assert.Empty(t, ready(), "it has not read yet")
	read(wt, 1)
	wt.Resync(1)
	assert.Equal(t, []uint64{1}, ready())
}

// Whatever the interleaving of changes and reading: replaying a stream gives
// exactly the registry, and each element fits the one before.
func TestWatchAgainstModel(t *testing.T) {
	type state = map[cbid.ID]IDInfo
	rapid.Check(t, func(t *rapid.T) {
		wt := NewWatchTable(rapid.IntRange(1, 6).Draw(t, "backlog"))
		registry := make(state)
		sets := map[uint64]*cbid.Set{1: nil, 2: cbid.NewSet(cbid.Rect{Idx: cbid.Between(2, 1<<32-1), Val: cbid.All})}
		replayed := map[uint64]state{}
		marked := map[uint64]bool{}
		version := 0
		anID := rapid.Custom(func(t *rapid.T) cbid.ID {
			return cbid.Make(rapid.SampledFrom([]uint32{0, 1, 2, 3, 1<<32 - 1}).Draw(t, "idx"), rapid.SampledFrom([]uint32{0, 1, 1<<32 - 1}).Draw(t, "val"))
		})
		start := func(w uint64) {
			require.NoError(t, wt.Add(w, sets[w]))
			replayed[w], marked[w] = make(state), false
		}
		start(1)
		start(2)
		next := func(t *rapid.T, w uint64) bool {
			c, ok := wt.Next(w)
			if !ok {
				return false
			}
			have := replayed[w]
			_, known := have[c.Info.ID]
			switch c.Kind {
			case ChangeResync:
				replayed[w], marked[w] = make(state), false
			case ChangePresent:
				require.False(t, marked[w], "present after the marker")
				require.False(t, known, "present twice: %v", c.Info.ID)
				have[c.Info.ID] = c.Info
			case ChangeMarker:
				require.False(t, marked[w], "two markers")
				marked[w] = true
			case ChangeAdded:
				require.True(t, marked[w], "a change before the marker")
				require.False(t, known, "added twice: %v", c.Info.ID)
				have[c.Info.ID] = c.Info
			case ChangeRemoved:
				require.True(t, marked[w], "a change before the marker")
				require.Equal(t, have[c.Info.ID], c.Info, "removed what was not there")
				delete(have, c.Info.ID)
			}
			return true
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				version++
				in := IDInfo{ID: anID.Draw(t, "id"), Name: fmt.Sprint(version)}
				wt.IDAdded(in)
				registry[in.ID] = in
			},
			"remove": func(t *rapid.T) {
				id := anID.Draw(t, "id")
				_, there := registry[id]
				require.Equal(t, there, wt.IDRemoved(id))
				delete(registry, id)
			},
			"read": func(t *rapid.T) {
				w := rapid.Uint64Range(1, 2).Draw(t, "watcher")
				for range rapid.IntRange(1, 8).Draw(t, "n") {
					next(t, w)
				}
			},
			"resync": func(t *rapid.T) { require.True(t, wt.Resync(rapid.Uint64Range(1, 2).Draw(t, "watcher"))) },
			"again": func(t *rapid.T) {
				w := rapid.Uint64Range(1, 2).Draw(t, "watcher")
				require.True(t, wt.Remove(w))
				start(w)
			},
			"read all": func(t *rapid.T) {
				for w, set := range sets {
					for next(t, w) {
						continue
					}
					want := maps.Clone(registry)
					maps.DeleteFunc(want, func(id cbid.ID, _ IDInfo) bool { return set != nil && !set.Contains(id) })
					require.True(t, marked[w])
					require.Equal(t, want, replayed[w])
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(registry), wt.Len())
				require.True(t, slices.IsSorted(wt.keys))
				for _, w := range wt.watchers {
					require.False(t, w.asleep && (w.phase != phaseFollow || w.head < len(w.queue)), "it would never be woken")
					require.LessOrEqual(t, len(w.queue)-w.head, wt.backlog)
					require.LessOrEqual(t, cap(w.queue), 4*wt.backlog+16)
				}
			},
		})
	})
}
