package procevent

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

func sampleFilter() Filter {
	return Filter{Kinds: MaskOf(Exec, Exit), UIDs: []uint32{1000, 0}, Cgroups: []string{"/a/b", "/user.slice"}, Trees: []uint32{1}}
}

// The bytes of SUBSCRIBE, as the package comment has them.
func TestSubscribeBytes(t *testing.T) {
	f := sampleFilter()
	b := f.appendSubscribe(nil, 0x70000001, binary.LittleEndian)
	assert.Equal(t, []byte{
		1, 1, 0, 0, 1, 0, 0, 0x70, // SUBSCRIBE, joined
		1, 0, 4, 0, 2, 0, 0, 0x80, // kinds
		2, 0, 8, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0, // uids
		4, 0, 4, 0, 1, 0, 0, 0, // trees
		3, 0, 4, 0, '/', 'a', '/', 'b',
		3, 0, 11, 0, '/', 'u', 's', 'e', 'r', '.', 's', 'l', 'i', 'c', 'e', 0,
	}, b)
	c, err := parseControl(b, binary.LittleEndian)
	require.NoError(t, err)
	assert.EqualValues(t, 0x70000001, c.joined)
	assert.Equal(t, f, c.filter)
	for n := 4; n < len(b); n++ {
		c, err := parseControl(b[:n], binary.LittleEndian)
		if err == nil {
			assert.NotEqual(t, f, c.filter, "cut to %d", n) // a shorter list of attributes is a request too
			continue
		}
		assert.ErrorIs(t, err, connector.ErrInvalid, "cut to %d", n)
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	head := []byte{1, 1, 0, 0, 0, 0, 0, 0}
	for name, b := range map[string][]byte{
		"nothing":            {},
		"three bytes":        {1, 0, 0},
		"listen of 5 bytes":  {1, 0, 0, 0, 0},
		"listen of 12 bytes": make([]byte, 12),
		"subscribe of 4":     head[:4],
		"unknown attribute":  append(slices.Clone(head), 9, 0, 0, 0),
		"half a header":      append(slices.Clone(head), 1, 0),
		"beyond the end":     append(slices.Clone(head), 2, 0, 8, 0, 1, 0, 0, 0),
		"odd list":           append(slices.Clone(head), 2, 0, 3, 0, 1, 0, 0, 0),
		"empty list":         append(slices.Clone(head), 2, 0, 0, 0),
		"kinds twice":        append(slices.Clone(head), 1, 0, 4, 0, 2, 0, 0, 0, 1, 0, 4, 0, 2, 0, 0, 0),
		"bits of no kind":    append(slices.Clone(head), 1, 0, 4, 0, 0, 4, 0, 0),
		"relative cgroup":    append(slices.Clone(head), 3, 0, 1, 0, 'a', 0, 0, 0),
		"too long":           make([]byte, maxSubscribe+4),
	} {
		if name == "too long" {
			copy(b, head)
		}
		_, err := parseControl(b, binary.LittleEndian)
		assert.ErrorIs(t, err, connector.ErrInvalid, name)
	}
}

func TestFilterBounds(t *testing.T) {
	for name, f := range map[string]Filter{
		"uids":       {UIDs: make([]uint32, MaxFilterUIDs+1)},
		"trees":      {Trees: make([]uint32, MaxFilterTrees+1)},
		"cgroups":    {Cgroups: slices.Repeat([]string{"/a"}, MaxFilterCgroups+1)},
		"long":       {Cgroups: []string{"/" + strings.Repeat("x", MaxCgroupLen)}},
		"NUL":        {Cgroups: []string{"/a\x00b"}},
		"kinds":      {Kinds: 0x400},
		"altogether": {Cgroups: slices.Repeat([]string{"/" + strings.Repeat("x", 4000)}, 3)},
	} {
		assert.ErrorIs(t, f.Check(), connector.ErrInvalid, name)
	}
	f := sampleFilter()
	assert.NoError(t, f.Check())
	assert.NoError(t, (&Filter{}).Check())
}

func TestEqualFiltersHaveOneForm(t *testing.T) {
	same := []Filter{
		{Kinds: MaskOf(Exec, Exit), UIDs: []uint32{1, 2}, Cgroups: []string{"/a", "/b"}},
		{Kinds: MaskOf(Exit, Exec, NonzeroExit), UIDs: []uint32{2, 1, 1}, Cgroups: []string{"/b/", "/a", "/a//"}},
	}
	assert.Equal(t, same[0].canonical(), same[1].canonical())
	all := []Filter{{}, {Kinds: All}, {Kinds: All | Mask(NonzeroExit)}}
	for _, f := range all {
		assert.True(t, f.IsZero())
		assert.Equal(t, all[0].canonical(), f.canonical())
	}
	f := Filter{Cgroups: []string{"/"}}
	assert.True(t, f.inCgroup("/anything"))
	f = Filter{Cgroups: []string{"/a/b"}}
	assert.True(t, f.inCgroup("/a/b"))
	assert.True(t, f.inCgroup("/a/b/c"))
	assert.False(t, f.inCgroup("/a/bc"))
	assert.False(t, f.inCgroup("/a"))
}

func TestAnswersAndLosses(t *testing.T) {
	b := appendAnswer(nil, 22, 0x70000000, 77, binary.BigEndian)
	errno, group, err := parseAnswer(b, binary.BigEndian)
	require.NoError(t, err)
	assert.Equal(t, [2]uint32{22, 0x70000000}, [2]uint32{errno, group})
	ack, err := Parse(b, binary.BigEndian)
	require.NoError(t, err, "the kernel's ack to those who know no more")
	assert.Equal(t, Event{Kind: Ack, Err: 22, Time: 77}, plain(ack))
	for n := range b {
		_, _, err := parseAnswer(b[:n], binary.BigEndian)
		assert.ErrorIs(t, err, connector.ErrProtocol)
	}
	lost := Event{Kind: Lost, Count: 1 << 40, Exact: true}
	b = appendLost(nil, &lost, binary.BigEndian)
	got, err := parseLost(b, binary.BigEndian)
	require.NoError(t, err)
	assert.Equal(t, lost, got)
	for n := range b {
		_, err := parseLost(b[:n], binary.BigEndian)
		assert.ErrorIs(t, err, connector.ErrProtocol)
	}
}

func FuzzControl(f *testing.F) {
	s := sampleFilter()
	f.Add(s.appendSubscribe(nil, 0, binary.LittleEndian))
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseControl(b, binary.LittleEndian)
		if err != nil {
			require.ErrorIs(t, err, connector.ErrInvalid)
			return
		}
		if c.op != opSubscribe {
			return
		}
		again, err := parseControl(c.filter.appendSubscribe(nil, c.joined, binary.LittleEndian), binary.LittleEndian)
		require.NoError(t, err)
		require.Equal(t, c.filter.canonical(), again.filter.canonical())
		canon := c.filter.canonical()
		require.NoError(t, canon.Check())
		require.Equal(t, canon, canon.canonical())
	})
}
