package connector

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A ring that goes on from its store and state at any time gives what the
// ring itself gives.
func TestRestoredRingIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := History{Messages: rapid.IntRange(0, 20).Draw(t, "messages"), Bytes: rapid.IntRange(0, 900).Draw(t, "bytes")}
		store := make([]byte, rapid.IntRange(8, 100).Draw(t, "size")*8)
		r := NewHistoryRing(store, bounds)
		for range rapid.IntRange(0, 60).Draw(t, "appends") {
			n := rapid.IntRange(0, 200).Draw(t, "n")
			r.Reserve(0, n)
			_, err := RestoreHistoryRing(append([]byte(nil), store...), bounds, r.State())
			require.NoError(t, err, "between Reserve and Append")
			r.Append(0, make([]byte, n), nil)
		}
		c, err := RestoreHistoryRing(append([]byte(nil), store...), bounds, r.State())
		require.NoError(t, err)
		require.Equal(t, []uint64{r.First(), r.Last(), uint64(r.Bytes())}, []uint64{c.First(), c.Last(), uint64(c.Bytes())})
		a, b := r.Seek(0), c.Seek(0)
		for {
			m1, p1, l1 := r.Read(&a)
			m2, p2, l2 := c.Read(&b)
			require.Equal(t, m1, m2)
			require.Equal(t, []uint64{p1, l1}, []uint64{p2, l2})
			if m1 == nil && l1 == 0 {
				return
			}
		}
	})
}

func TestDamagedStoreIsRefused(t *testing.T) {
	store := make([]byte, 512)
	r := NewHistoryRing(store, History{})
	for range 5 {
		r.Append(1, []byte("message"), nil)
	}
	s := r.State()
	_, err := RestoreHistoryRing(store, History{}, s)
	require.NoError(t, err)
	for name, bad := range map[string]HistoryState{
		"zero":      {},
		"backwards": {Head: s.Tail, Tail: s.Head, Next: s.Next},
		"too long":  {Head: 0, Tail: 1 << 40, Next: s.Next},
		"odd":       {Head: 4, Tail: s.Tail, Next: s.Next},
		"too few":   {Head: s.Head, Tail: s.Tail, Next: s.Next - 1},
		"too many":  {Head: s.Head, Tail: s.Tail, Next: s.Next + 1},
		"cut":       {Head: s.Head, Tail: s.Tail - 8, Next: s.Next},
	} {
		_, err := RestoreHistoryRing(store, History{}, bad)
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
}

func FuzzRestoreHistoryRing(f *testing.F) {
	store := make([]byte, 256)
	r := NewHistoryRing(store, History{})
	r.Append(1, []byte("message"), nil)
	f.Add(store, r.head, r.tail, r.next)
	f.Add(store[:0], uint64(0), uint64(0), uint64(1))
	f.Fuzz(func(t *testing.T, store []byte, head, tail, next uint64) {
		r, err := RestoreHistoryRing(store, History{}, HistoryState{head, tail, next})
		if err != nil {
			return
		}
		c := r.Seek(0)
		for n := 0; ; n++ {
			m, _, lost := r.Read(&c)
			if m == nil && lost == 0 {
				return
			}
			require.Less(t, n, len(store))
		}
	})
}
