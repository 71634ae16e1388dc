package connector

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

// cnTestCtl is what cn_test of 2005 asks for: one range of idx, two of val.
var cnTestCtl = Ctl{
	Group: 1,
	Idx:   []NotifyReq{{0x123, 10}},
	Val:   []NotifyReq{{0x456, 10}, {0x456 + 20, 10}},
}

// Written by hand from the struct layouts of linux/connector.h of 2005.
func TestCtlByteOrders(t *testing.T) {
	for name, text := range map[string]string{
		"little": "01000000 02000000 01000000 18000000 23010000 0a000000 56040000 0a000000 6a040000 0a000000",
		"big":    "00000001 00000002 00000001 00000018 00000123 0000000a 00000456 0000000a 0000046a 0000000a",
	} {
		golden, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		require.NoError(t, err)
		b, err := cnTestCtl.Append([]byte("x"), orders[name])
		require.NoError(t, err)
		assert.Equal(t, golden, b[1:], name)
		c, err := ParseCtl(golden, orders[name])
		require.NoError(t, err)
		assert.Equal(t, cnTestCtl, c, name)
		for n := range golden {
			_, err := ParseCtl(golden[:n], orders[name])
			require.ErrorIs(t, err, ErrInvalid, "%d bytes", n)
		}
		_, err = ParseCtl(append(golden, 0), orders[name])
		require.ErrorIs(t, err, ErrInvalid)
	}
	_, err := Ctl{Idx: make([]NotifyReq, 2043)}.Append(nil, le)
	require.NoError(t, err, "as many as fit in a message")
	_, err = Ctl{Idx: make([]NotifyReq, 2044)}.Append(nil, le)
	require.ErrorIs(t, err, ErrTooBig)
}

// The length checks of 2005, each alone, and what is refused on top; none costs memory.
func TestCtlRefuses(t *testing.T) {
	good, err := cnTestCtl.Append(nil, le)
	require.NoError(t, err)
	set := func(at int, v uint32) []byte {
		b := slices.Clone(good)
		le.PutUint32(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                     {},
		"15 bytes":                  good[:15],
		"idx count one more":        set(0, 2),
		"idx count absurd":          set(0, 1<<32-1),
		"counts that wrap in 32":    set(4, 1<<32-1), // 1 + 0xffffffff = 0 in 32 bits
		"no request, counts wrap":   append(le.AppendUint32(le.AppendUint32(nil, 1), 1<<32-1), make([]byte, 8)...),
		"bytes that wrap in 32":     set(0, 1<<29+1), // 8 * 2^29 = 0 in 32 bits
		"val count absurd":          set(4, 1<<31),
		"len one more":              set(12, 25),
		"len 0":                     set(12, 0),
		"len wraps":                 set(12, 1<<32-16),
		"idx range beyond 2^32":     set(16, 1<<32-9),
		"val range beyond 2^32":     set(36, 1<<32-1),
		"range one beyond the edge": set(20, 1<<32-0x123+1),
	} {
		var got error
		allocs := testing.AllocsPerRun(10, func() { _, got = ParseCtl(b, le) })
		assert.ErrorIs(t, got, ErrInvalid, name)
		assert.Zero(t, allocs, name)
	}
	_, err = ParseCtl(set(20, 1<<32-0x123), le)
	require.NoError(t, err, "up to 2^32 exactly")
	_, err = ParseCtl(make([]byte, 16), le)
	require.NoError(t, err, "no range at all is well-formed, and never fires")
}

func TestNotifyReqHolds(t *testing.T) {
	r := NotifyReq{First: 5, Range: 3}
	assert.Equal(t, []bool{false, true, true, true, false}, []bool{r.Holds(4), r.Holds(5), r.Holds(6), r.Holds(7), r.Holds(8)})
	assert.True(t, NotifyReq{1<<32 - 1, 1}.Holds(1<<32-1), "64-bit sum")
	assert.False(t, NotifyReq{1<<32 - 1, 1}.Holds(0))
	assert.False(t, NotifyReq{7, 0}.Holds(7))
	assert.False(t, NotifyReq{0, 1<<32 - 1}.Holds(1<<32-1))
}

func fired(n *Notify, idx, val uint32) []uint32 { return slices.Collect(n.Fire(cbid.Make(idx, val))) }

func one(group, idx, val uint32) Ctl {
	return Ctl{Group: group, Idx: []NotifyReq{{idx, 1}}, Val: []NotifyReq{{val, 1}}}
}

func TestNotifyFires(t *testing.T) {
	n := NewNotify(nil)
	data, err := cnTestCtl.Append(nil, binary.NativeEndian)
	require.NoError(t, err)
	require.NoError(t, n.Handle(1, data))
	assert.Equal(t, []uint32{1}, fired(n, 0x123, 0x456))
	assert.Equal(t, []uint32{1}, fired(n, 0x12c, 0x45f), "the last of both ranges")
	assert.Equal(t, []uint32{1}, fired(n, 0x123, 0x456+20), "the second val range")
	assert.Empty(t, fired(n, 0x12d, 0x456), "half open")
	assert.Empty(t, fired(n, 0x123, 0x460), "between the val ranges")
	assert.Empty(t, fired(n, 0x122, 0x456))

	require.NoError(t, n.Request(2, cnTestCtl))
	require.NoError(t, n.Request(2, one(9, 0x123, 0x456)))
	assert.Equal(t, []uint32{9, 1, 1}, fired(n, 0x123, 0x456), "asked twice is told twice, the newest first")
	for range n.Fire(cbid.Make(0x123, 0x456)) {
		break // may be left
	}

	assert.Equal(t, Message{ID: cbid.Proc}, NotifyMessage(cbid.Proc, false))
	assert.Equal(t, Message{ID: cbid.Proc, Ack: 1}, NotifyMessage(cbid.Proc, true))

	allocs := testing.AllocsPerRun(10, func() {
		for range n.Fire(cbid.Make(0x123, 0x456)) {
			continue
		}
	})
	assert.Zero(t, allocs)
	err = n.Handle(1, data[:20])
	require.ErrorIs(t, err, syscall.EINVAL)
	assert.ErrorContains(t, err, cbid.Control.String())
}

func TestNotifyTakesBackOwnOnly(t *testing.T) {
	n := NewNotify(nil)
	for _, owner := range []uint64{1, 2} {
		require.NoError(t, n.Request(owner, one(5, 1, 1)))
		require.NoError(t, n.Request(owner, one(6, 1, 1)))
		require.NoError(t, n.Request(owner, one(5, 1, 2)))
	}
	back := one(0, 1, 1)
	require.NoError(t, n.Request(1, back), "the group is not compared")
	assert.Equal(t, []uint32{6, 5}, fired(n, 1, 1), "those of the other owner stay")
	assert.Equal(t, []uint32{5, 5}, fired(n, 1, 2))
	require.ErrorIs(t, n.Request(1, back), ErrNotFound)
	require.ErrorIs(t, n.Request(3, back), ErrNotFound)
	assert.Equal(t, 1, n.Owned(1))

	// Equal means cut into ranges in the same way.
	require.NoError(t, n.Request(1, cnTestCtl))
	c := cnTestCtl
	c.Group = 0
	c.Val = []NotifyReq{c.Val[1], c.Val[0]}
	require.ErrorIs(t, n.Request(1, c), ErrNotFound)
	c.Idx, c.Val = append(slices.Clone(cnTestCtl.Idx), cnTestCtl.Val[0]), cnTestCtl.Val[1:]
	require.ErrorIs(t, n.Request(1, c), ErrNotFound)

	assert.Equal(t, 3, n.DropOwner(2))
	assert.Zero(t, n.DropOwner(2))
	assert.Empty(t, fired(n, 1, 1))
	assert.Equal(t, 2, n.Len())
	assert.Equal(t, 2, n.DropOwner(1))
	assert.Empty(t, n.owners, "nothing is left of an owner")
}

func TestNotifyLimits(t *testing.T) {
	n := NewNotify(&NotifyConfig{Requests: 3, Ranges: 8})
	for range 3 {
		require.NoError(t, n.Request(1, one(1, 1, 1)))
	}
	err := n.Request(1, one(7, 1, 1))
	require.ErrorIs(t, err, ErrLimit)
	require.ErrorIs(t, err, syscall.EDQUOT)
	assert.ErrorContains(t, err, "group 7")
	require.NoError(t, n.Request(2, one(1, 1, 1)), "an owner's limit is its own")
	require.NoError(t, n.Request(1, one(0, 1, 1)))
	require.NoError(t, n.Request(1, Ctl{Group: 1, Idx: make([]NotifyReq, 8)}), "room again")
	require.ErrorIs(t, n.Request(1, one(1, 1, 1)), ErrLimit, "too many ranges")
	assert.Equal(t, 2, n.Len())

	n = NewNotify(&NotifyConfig{Ranges: 6})
	require.NoError(t, n.Request(1, one(1, 1, 1)))
	for range 10 { // one stays, another comes and goes
		require.NoError(t, n.Request(1, one(1, 2, 2)))
		require.NoError(t, n.Request(1, one(0, 2, 2)))
	}
}

func TestNotifyKeepsItsOwnCopy(t *testing.T) {
	n := NewNotify(nil)
	c := one(1, 1, 1)
	require.NoError(t, n.Request(1, c))
	c.Idx[0].First = 2
	assert.Equal(t, []uint32{1}, fired(n, 1, 1))
}

// holds2005 is what every kernel that had notification did: when an idx range matched, it went
// on to the vals without moving to the first val range, so that it looked at as many ranges as
// there are vals, beginning with the matching idx range.
func holds2005(c *Ctl, id cbid.ID) bool {
	all := append(slices.Clone(c.Idx), c.Val...)
	for i := range c.Idx {
		if all[i].Holds(id.Idx) {
			return anyHolds(all[i:i+len(c.Val)], id.Val)
		}
	}
	return false
}

// cn_test's own request: the kernel compared val with the idx range and the first
// val range, and never looked at the second. Ours has the documented meaning.
func TestCompat2005Val1Bug(t *testing.T) {
	ours, theirs := NewNotify(nil), NewNotify(nil)
	theirs.holds = holds2005
	require.NoError(t, ours.Request(1, cnTestCtl))
	require.NoError(t, theirs.Request(1, cnTestCtl))
	for _, c := range []struct {
		what         string
		val          uint32
		ours, theirs bool
	}{
		{"in the first val range", 0x456, true, true},
		{"in the second val range", 0x456 + 20, true, false},
		{"in the idx range", 0x125, false, true},
		{"in none", 0x456 + 10, false, false},
	} {
		assert.Equal(t, c.ours, len(fired(ours, 0x123, c.val)) > 0, "documented: %s", c.what)
		assert.Equal(t, c.theirs, len(fired(theirs, 0x123, c.val)) > 0, "2005: %s", c.what)
	}
}

func TestCtlResult(t *testing.T) {
	for _, c := range []struct{ in, want error }{
		{ErrInvalid, ErrInvalid},
		{&OpError{Op: "notify", Err: ErrLimit}, ErrLimit},
		{ErrNotFound, ErrNotFound},
		{ErrPermission, ErrPermission},
		{syscall.EIO, syscall.EIO},
		{assert.AnError, ErrInvalid},
	} {
		assert.ErrorIs(t, ParseCtlResult(AppendCtlResult(nil, c.in)), c.want)
	}
	require.NoError(t, ParseCtlResult(AppendCtlResult(nil, nil)))
	for n := range 9 {
		if n != 4 {
			require.ErrorIs(t, ParseCtlResult(make([]byte, n)), ErrProtocol)
		}
	}
}

// The slow, obvious model: a list that is searched from its newest end.
func TestNotifyAgainstModel(t *testing.T) {
	number := rapid.Uint32Range(1<<32-6, 1<<32-1)
	reqs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) NotifyReq {
		first := number.Draw(t, "first")
		return NotifyReq{first, rapid.Uint32Range(0, -first).Draw(t, "range")}
	}), 0, 2)
	type entry struct {
		owner uint64
		c     Ctl
	}
	rapid.Check(t, func(t *rapid.T) {
		n := NewNotify(&NotifyConfig{Requests: 5})
		var model []entry
		owned := func(owner uint64) (k int) {
			for _, e := range model {
				if e.owner == owner {
					k++
				}
			}
			return k
		}
		t.Repeat(map[string]func(*rapid.T){
			"request": func(t *rapid.T) {
				owner := rapid.Uint64Range(1, 3).Draw(t, "owner")
				c := Ctl{Group: rapid.Uint32Range(0, 3).Draw(t, "group"), Idx: reqs.Draw(t, "idx"), Val: reqs.Draw(t, "val")}
				data, err := c.Append(nil, binary.NativeEndian)
				require.NoError(t, err)
				err = n.Handle(owner, data)
				if c.Group != 0 {
					if owned(owner) == 5 {
						require.ErrorIs(t, err, ErrLimit)
						return
					}
					require.NoError(t, err)
					model = append(model, entry{owner, c})
					return
				}
				before := len(model)
				var rest []entry
				for _, e := range model {
					if e.owner != owner || !slices.Equal(e.c.Idx, c.Idx) || !slices.Equal(e.c.Val, c.Val) {
						rest = append(rest, e)
					}
				}
				model = rest
				require.Equal(t, len(model) == before, err != nil)
			},
			"drop": func(t *rapid.T) {
				owner := rapid.Uint64Range(1, 3).Draw(t, "owner")
				require.Equal(t, owned(owner), n.DropOwner(owner))
				model = slices.DeleteFunc(model, func(e entry) bool { return e.owner == owner })
			},
			"": func(t *rapid.T) {
				idx, val := number.Draw(t, "idx"), number.Draw(t, "val")
				var want []uint32
				for i := len(model) - 1; i >= 0; i-- {
					var hitIdx, hitVal bool
					for _, r := range model[i].c.Idx {
						hitIdx = hitIdx || uint64(r.First) <= uint64(idx) && uint64(idx) < uint64(r.First)+uint64(r.Range)
					}
					for _, r := range model[i].c.Val {
						hitVal = hitVal || uint64(r.First) <= uint64(val) && uint64(val) < uint64(r.First)+uint64(r.Range)
					}
					if hitIdx && hitVal {
						want = append(want, model[i].c.Group)
					}
				}
				require.Equal(t, want, fired(n, idx, val))
				require.Equal(t, len(model), n.Len())
			},
		})
	})
}

func FuzzParseCtl(f *testing.F) {
	b, err := cnTestCtl.Append(nil, le)
	require.NoError(f, err)
	f.Add(b)
	f.Add(make([]byte, 16))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			c, err := ParseCtl(b, order)
			if err != nil {
				require.ErrorIs(t, err, ErrInvalid)
				continue
			}
			if again, err := c.Append(nil, order); err == nil {
				require.Equal(t, b, again)
			}
			c.Holds(cbid.Control)
		}
	})
}
