package cbid

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRangeEdges(t *testing.T) {
	const top = 0xffffffff
	for _, c := range []struct {
		r      Range
		in     []uint32
		out    []uint32
		end    uint64
		text   string
		clamps bool
	}{
		{Range{}, nil, []uint32{0, 1, top}, 0, "none", false},
		{Range{5, 1}, []uint32{5}, []uint32{4, 6, 0, top}, 6, "5", false},
		{Range{1, 10}, []uint32{1, 10}, []uint32{0, 11, top}, 11, "1-10", false},
		{Range{top, 1}, []uint32{top}, []uint32{0, top - 1}, 1 << 32, "4294967295", false},
		{Range{top, 2}, []uint32{top}, []uint32{0, 1, top - 1}, 1 << 32, "4294967295", true},
		{Range{top - 1, 1 << 40}, []uint32{top, top - 1}, []uint32{0, 1, top - 2}, 1 << 32, "4294967294-*", true},
		{Range{0x100, 1<<64 - 1}, []uint32{0x100, top}, []uint32{0, 0xff}, 1 << 32, "256-*", true},
		{All, []uint32{0, top}, nil, 1 << 32, "*", false},
		{Range{0, top}, []uint32{0, top - 1}, []uint32{top}, top, "0-4294967294", false},
		{Range{1, 0}, nil, []uint32{0, 1}, 1, "none", false},
	} {
		t.Run(fmt.Sprint(c.r.First, "+", c.r.Count), func(t *testing.T) {
			for _, n := range c.in {
				assert.True(t, c.r.Contains(n), "%d", n)
			}
			for _, n := range c.out {
				assert.False(t, c.r.Contains(n), "%d", n)
			}
			assert.Equal(t, c.end, c.r.End())
			assert.Equal(t, c.text, c.r.String())
			assert.Equal(t, c.clamps, c.r != c.r.Clamp())
		})
	}
	assert.Equal(t, Range{3, 1}, One(3))
	assert.Equal(t, Range{3, 0}, Between(3, 2))
	assert.Equal(t, All, Between(0, top))
}

func TestParseRange(t *testing.T) {
	for text, want := range map[string]Range{
		"5": {5, 1}, "1-10": {1, 10}, "0x100-*": {0x100, 1<<32 - 0x100}, "*": All, "none": {}, "-1": {0xffffffff, 1},
		"0--1": All, "-1--1": {0xffffffff, 1}, " 3-3 ": {3, 1}, "0x10-0x1f": {0x10, 0x10}, "-1-*": {0xffffffff, 1},
	} {
		r, err := ParseRange(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, r, "%q", text)
	}
	for _, text := range []string{"", "-", "1-", "-5", "2-1", "1-2-3", "*-1", "**", "1-4294967296", "0x-1", "a-b", "1 - 2", "None"} {
		_, err := ParseRange(text)
		var pe *ParseError
		assert.ErrorAs(t, err, &pe, "%q", text)
	}
	var r Range
	require.NoError(t, r.UnmarshalText([]byte("1-2")))
	require.Error(t, r.UnmarshalText([]byte("x")))
	text, err := r.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, "1-2", string(text))
}

func TestParseRectAndSet(t *testing.T) {
	for text, want := range map[string]string{
		"1:1":                    "1:1",
		"0x100-0x1ff:*":          "256-511:*",
		"proc":                   "1:1",
		"*":                      "*:*",
		"*:*":                    "*:*",
		"control":                "4294967295:4294967295",
		"1:1, proc ,1:1":         "1:1",
		"1:1 2:2\t3:3\n4:4,,5:5": "1:1, 2:2, 3:3, 4:4, 5:5",
		"1:1, 1-2:*, 1:5":        "1-2:*",
		"":                       "none",
		" none ":                 "none",
		"none:1":                 "none",
		"proc, *":                "*:*",
	} {
		s, err := ParseSet(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, s.String(), "%q", text)
	}
	for _, text := range []string{"1", "1:1,x", "1:2-1", "1-:1", "1:1:1", "nobody"} {
		_, err := ParseSet(text)
		var pe *ParseError
		assert.ErrorAs(t, err, &pe, "%q", text)
	}
	r, err := ParseRect(" 1-2:3 ")
	require.NoError(t, err)
	assert.Equal(t, Rect{Between(1, 2), One(3)}, r)
	assert.Equal(t, "1-2:3", r.String())

	var s Set
	require.NoError(t, s.UnmarshalText([]byte("proc")))
	require.Error(t, s.UnmarshalText([]byte("x")))
	text, err := s.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, "1:1", string(text))
}

// A small world makes ranges meet; its edge is also the edge of the numbers.
const world = 12

func worldNumber(i int) uint32 { return uint32(1<<32-world) + uint32(i) }

var worldRange = rapid.Custom(func(t *rapid.T) Range {
	if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
		return All
	}
	return Range{worldNumber(rapid.IntRange(0, world-1).Draw(t, "first")), uint64(rapid.IntRange(0, world+2).Draw(t, "count"))}
})

var worldRects = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rect {
	return Rect{worldRange.Draw(t, "idx"), worldRange.Draw(t, "val")}
}), 0, 6)

// members is the slow, obvious model of a set: every id of the small world.
func members(rects []Rect) map[ID]bool {
	in := make(map[ID]bool)
	for _, r := range rects {
		for i := range world {
			for v := range world {
				id := ID{worldNumber(i), worldNumber(v)}
				dx, dv := uint64(id.Idx)-uint64(r.Idx.First), uint64(id.Val)-uint64(r.Val.First)
				if id.Idx >= r.Idx.First && dx < r.Idx.Count && id.Val >= r.Val.First && dv < r.Val.Count {
					in[id] = true
				}
			}
		}
	}
	// What lies below the small world is all alike: a range is All or begins inside it.
	for _, r := range rects {
		for _, id := range []ID{{0, worldNumber(0)}, {worldNumber(0), 0}, {0, 0}} {
			if r.Idx.Contains(id.Idx) && r.Val.Contains(id.Val) {
				in[id] = true
			}
		}
		for n := range world {
			for _, id := range []ID{{0, worldNumber(n)}, {worldNumber(n), 0}} {
				if r.Idx.Contains(id.Idx) && r.Val.Contains(id.Val) {
					in[id] = true
				}
			}
		}
	}
	return in
}

func TestSetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := worldRects.Draw(t, "a"), worldRects.Draw(t, "b")
		s, u := NewSet(a...), NewSet(b...)
		ma, mb := members(a), members(b)
		both := Union(s, nil, u)
		for i := -1; i < world; i++ {
			for v := -1; v < world; v++ {
				var id ID
				if i >= 0 {
					id.Idx = worldNumber(i)
				}
				if v >= 0 {
					id.Val = worldNumber(v)
				}
				require.Equal(t, ma[id], s.Contains(id), "%v in %v", id, s)
				require.Equal(t, ma[id] || mb[id], both.Contains(id), "%v in %v", id, both)
			}
		}
		require.Equal(t, assert.ObjectsAreEqual(ma, mb), s.Equal(u), "%v, %v", s, u)
		require.Equal(t, len(ma) == 0, s.Empty())
		require.True(t, s.Equal(NewSet(reversed(a)...)), "the order of adding plays no part")

		back, err := ParseSet(s.String())
		require.NoError(t, err)
		require.True(t, s.Equal(back))
		require.Equal(t, s.String(), back.String())
	})
}

func reversed(r []Rect) []Rect {
	var out []Rect
	for i := range r {
		out = append(out, r[len(r)-1-i])
	}
	return out
}

func TestSetEqualWhateverTheCut(t *testing.T) {
	a, err := ParseSet("1-4:1-4")
	require.NoError(t, err)
	b, err := ParseSet("1-2:1-4, 3-4:1-2, 3-4:3, 3-4:4")
	require.NoError(t, err)
	assert.True(t, a.Equal(b))
	assert.True(t, b.Equal(a))
	b.Add(Only(Make(5, 5)))
	assert.False(t, a.Equal(b))
	assert.True(t, (*Set)(nil).Equal(new(Set)))
	assert.False(t, a.Equal(nil))
}

func TestNilAndCopies(t *testing.T) {
	var s *Set
	assert.False(t, s.Contains(Proc))
	assert.True(t, s.Empty())
	assert.Equal(t, "none", s.String())
	assert.Nil(t, s.Rects())
	assert.True(t, s.Clone().Empty())

	u := SetOf(Proc, CIFS)
	c := u.Clone()
	u.Add(Everything)
	u.Rects()[0] = Rect{}
	assert.Equal(t, "1:1, 2:1", c.String())
	assert.True(t, u.Contains(W1))
	assert.False(t, c.Contains(W1))
}

func TestContainsDoesNotAllocate(t *testing.T) {
	s := SetOf(Proc, CIFS, W1)
	hit := false
	assert.Zero(t, testing.AllocsPerRun(100, func() { hit = s.Contains(W1) && !s.Contains(Control) }))
	assert.True(t, hit)
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"5", "1-10", "0x100-*", "*", "none", "-1--1", "2-1", "1--1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		require.LessOrEqual(t, r.End(), uint64(1<<32))
		require.Equal(t, r, r.Clamp())
		back, err := ParseRange(r.String())
		require.NoError(t, err)
		require.Equal(t, r, back)
	})
}

func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"1:1", "0x100-0x1ff:*", "proc,cifs", "*:*", "none", "1-5:1-5 2:2", "1:1,x", ",,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := ParseSet(s)
		if err != nil {
			return
		}
		for _, r := range set.Rects() {
			require.False(t, r.Empty())
			require.True(t, set.Contains(ID{r.Idx.First, r.Val.First}))
		}
		back, err := ParseSet(set.String())
		require.NoError(t, err)
		require.True(t, set.Equal(back))
	})
}
