package connector

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

func reply(c Call) *Message { return &Message{ID: c.ID, Seq: c.Seq, Ack: c.Ack + 1} }

func match(g *Genealogy, m *Message, port uint32) Class {
	class, _ := g.Match(m, &From{Port: port})
	return class
}

func begin(t require.TestingT, g *Genealogy, id cbid.ID, port uint32) Call {
	c, err := g.Begin(id, port, nil)
	require.NoError(t, err)
	return c
}

func TestGenealogyRule(t *testing.T) {
	g := NewGenealogy(nil)
	id := cbid.Make(1, 2)
	assert.Equal(t, ClassNew, match(g, &Message{ID: id, Ack: 1}, 0), "nothing was asked")
	tag := new(int)
	c, err := g.Begin(id, 7, tag)
	require.NoError(t, err)

	for name, spoil := range map[string]func(m *Message){
		"ack of the request": func(m *Message) { m.Ack = c.Ack },
		"ack + 2":            func(m *Message) { m.Ack = c.Ack + 2 },
		"seq + 1":            func(m *Message) { m.Seq++ }, // today's text says so; the rule does not
		"seq of that place":  func(m *Message) { m.Seq += 1 << 20 },
	} {
		m := reply(c)
		spoil(m)
		assert.Equal(t, ClassNew, match(g, m, 7), name)
	}
	assert.Equal(t, ClassForeign, match(g, reply(c), 8), "from another port")
	other := reply(c)
	other.ID.Val++
	assert.Equal(t, ClassForeign, match(g, other, 7), "of another id")

	class, got := g.Match(reply(c), &From{Port: 7})
	assert.Equal(t, ClassReply, class)
	assert.Equal(t, c, got)
	assert.Same(t, tag, got.Tag)
	class, got = g.Match(reply(c), &From{Port: 7})
	assert.Equal(t, ClassDuplicate, class)
	assert.Nil(t, got.Tag, "an ended call holds on to nothing")
	assert.Equal(t, ClassForeign, match(g, other, 7), "also after its end")
	assert.False(t, g.Cancel(c), "it has its reply")

	c = begin(t, g, id, 0)
	require.True(t, g.Cancel(c))
	require.False(t, g.Cancel(c))
	assert.Equal(t, ClassLate, match(g, reply(c), 3), "sent to no port, so from any")
	assert.Equal(t, ClassDuplicate, match(g, reply(c), 3))
	assert.Equal(t, GenealogyStats{
		Begun: 2, Replies: 1, Late: 1, Duplicate: 2, Foreign: 3, New: 5, Cancelled: 1,
	}, g.Stats())
}

func TestGenealogyWrapsAround(t *testing.T) {
	g := NewGenealogy(&GenealogyConfig{First: 1<<32 - 3, Remember: 4})
	var calls []Call
	for range 6 {
		calls = append(calls, begin(t, g, cbid.Proc, 0))
	}
	assert.Equal(t, []uint32{1<<32 - 3, 1<<32 - 2, 1<<32 - 1, 0, 1, 2},
		[]uint32{calls[0].Seq, calls[1].Seq, calls[2].Seq, calls[3].Seq, calls[4].Seq, calls[5].Seq})
	for _, c := range calls {
		assert.Equal(t, ClassReply, match(g, reply(c), 9))
	}
	// An ack of all ones is answered by 0.
	c := begin(t, g, cbid.Proc, 0)
	g.at(c.Seq).call.Ack = 1<<32 - 1
	assert.Equal(t, ClassReply, match(g, &Message{ID: cbid.Proc, Seq: c.Seq, Ack: 0}, 9))
}

// After 2^32 calls a seq comes again: an old outstanding call keeps its own, and
// an old handle does not cancel the new call.
func TestGenealogySeqComesAgain(t *testing.T) {
	g := NewGenealogy(&GenealogyConfig{Remember: 4})
	old, done := begin(t, g, cbid.Proc, 0), begin(t, g, cbid.Proc, 0)
	require.True(t, g.Cancel(done))
	g.seq = 0 // as after the wrap
	c := begin(t, g, cbid.Proc, 0)
	assert.Equal(t, done.Seq, c.Seq, "the outstanding one's seq was passed over")
	assert.NotEqual(t, old.Seq, c.Seq)
	assert.False(t, g.Cancel(done))
	assert.Equal(t, ClassReply, match(g, reply(c), 0))
	assert.Equal(t, ClassReply, match(g, reply(old), 0))
}

func TestGenealogyLimitAndMemory(t *testing.T) {
	g := NewGenealogy(&GenealogyConfig{Limit: 100, Remember: 4})
	var calls []Call
	for range 100 {
		calls = append(calls, begin(t, g, cbid.Proc, 0))
	}
	_, err := g.Begin(cbid.Proc, 5, nil)
	require.ErrorIs(t, err, ErrLimit)
	assert.ErrorContains(t, err, "1:1 port 5")
	assert.Len(t, g.ring, 256)
	require.True(t, g.Cancel(calls[50]))
	begin(t, g, cbid.Proc, 0)
	for range 10000 {
		require.True(t, g.Cancel(calls[51]))
		calls[51] = begin(t, g, cbid.Proc, 0)
	}
	assert.Len(t, g.ring, 256, "it does not grow beyond the limit")
	assert.Equal(t, 100, g.Stats().Outstanding)
}

func TestGenealogyRandomAck(t *testing.T) {
	seen := make(map[uint32]bool)
	for range 50 {
		g := NewGenealogy(nil)
		for range 20 {
			seen[begin(t, g, cbid.Proc, 0).Ack] = true
		}
	}
	assert.Greater(t, len(seen), 990, "neither constant nor the same in each process")
}

func TestGenealogyFailAll(t *testing.T) {
	g := NewGenealogy(&GenealogyConfig{First: 1<<32 - 2})
	var proc []Call
	for range 3 {
		proc = append(proc, begin(t, g, cbid.Proc, 5))
	}
	cifs := begin(t, g, cbid.CIFS, 5)
	require.True(t, g.Cancel(proc[1]))
	failed := g.FailAll(func(c Call) bool { return c.ID == cbid.Proc })
	assert.Equal(t, []Call{proc[0], proc[2]}, failed, "in the order they began, the wrap between")
	assert.Equal(t, ClassLate, match(g, reply(proc[0]), 5))
	assert.Equal(t, []Call{cifs}, g.FailAll(nil))
	assert.Empty(t, g.FailAll(nil))
	assert.Empty(t, NewGenealogy(nil).FailAll(nil))
	assert.False(t, NewGenealogy(nil).Cancel(cifs))
}

func TestGenealogyDoesNotAllocate(t *testing.T) {
	g := NewGenealogy(nil)
	tag := new(int)
	for range 100 {
		begin(t, g, cbid.Proc, 0)
	}
	from := &From{}
	m := new(Message)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		c, err := g.Begin(cbid.Proc, 0, tag)
		*m = Message{ID: c.ID, Seq: c.Seq, Ack: c.Ack + 1}
		if class, got := g.Match(m, from); err != nil || class != ClassReply || got.Tag != any(tag) {
			t.Error("no reply")
		}
	}))
}

func TestGenealogyConcurrently(t *testing.T) {
	g := NewGenealogy(&GenealogyConfig{Remember: 4})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				c, err := g.Begin(cbid.Proc, 0, nil)
				if err != nil {
					t.Error(err)
				} else if i%2 == 0 {
					assert.True(t, g.Cancel(c))
				} else {
					assert.Equal(t, ClassReply, match(g, reply(c), 0))
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, GenealogyStats{Begun: 4000, Replies: 2000, Cancelled: 2000}, g.Stats())
}

// The slow, obvious model: every call there ever was, in a list.
func TestGenealogyAgainstModel(t *testing.T) {
	type modelCall struct {
		Call
		state string // outstanding, cancelled, answered
	}
	rapid.Check(t, func(t *rapid.T) {
		const remember = 8
		first := rapid.SampledFrom([]uint32{0, 1<<32 - 20, 1<<31 - 5}).Draw(t, "first")
		g := NewGenealogy(&GenealogyConfig{First: first, Remember: remember, Limit: 40})
		var all []*modelCall
		outstanding := 0
		var want GenealogyStats
		pick := func(t *rapid.T) *modelCall {
			if len(all) == 0 {
				t.Skip("no call yet")
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "call")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				id := cbid.Make(rapid.Uint32Range(1, 2).Draw(t, "idx"), 1)
				port := rapid.Uint32Range(0, 2).Draw(t, "port")
				c, err := g.Begin(id, port, len(all))
				if outstanding == 40 {
					require.ErrorIs(t, err, ErrLimit)
					return
				}
				require.NoError(t, err)
				for _, o := range all {
					require.False(t, o.state == "outstanding" && o.Seq == c.Seq, "seq is unique")
				}
				if n := len(all); n > 0 {
					require.Positive(t, int32(c.Seq-all[n-1].Seq), "seq increases")
				} else {
					require.Equal(t, first, c.Seq)
				}
				all = append(all, &modelCall{c, "outstanding"})
				outstanding++
				want.Begun++
			},
			"match": func(t *rapid.T) {
				at := rapid.IntRange(0, max(0, len(all)-1)).Draw(t, "call")
				m := &Message{ID: cbid.Make(1, 1), Seq: rapid.Uint32().Draw(t, "seq"), Ack: rapid.Uint32().Draw(t, "ack")}
				if len(all) > 0 {
					m = reply(all[at].Call)
					m.ID.Idx = rapid.Uint32Range(1, 2).Draw(t, "idx")
					m.Ack += uint32(rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(t, "ack off by"))
				}
				port := rapid.Uint32Range(1, 2).Draw(t, "from")
				class, got := g.Match(m, &From{Port: port})

				var c *modelCall
				for _, o := range all {
					if o.Seq == m.Seq && o.Ack+1 == m.Ack {
						c = o
					}
				}
				expect := ClassNew
				if c != nil {
					switch {
					case c.ID != m.ID || c.Port != 0 && c.Port != port:
						expect = ClassForeign
					case c.state == "outstanding":
						expect = ClassReply
					case c.state == "cancelled":
						expect = ClassLate
					default:
						expect = ClassDuplicate
					}
					// A call that ended long ago may have been forgotten, never a recent one.
					if class == ClassNew && c.state != "outstanding" && len(all)-at > remember {
						expect = ClassNew
					}
				}
				require.Equal(t, expect, class)
				switch class {
				case ClassReply:
					require.Equal(t, c.Call, got)
					c.state = "answered"
					outstanding--
					want.Replies++
				case ClassLate:
					c.state = "answered"
					want.Late++
				case ClassDuplicate:
					want.Duplicate++
				case ClassForeign:
					want.Foreign++
				case ClassNew:
					want.New++
				}
			},
			"cancel": func(t *rapid.T) {
				c := pick(t)
				require.Equal(t, c.state == "outstanding", g.Cancel(c.Call))
				if c.state == "outstanding" {
					c.state = "cancelled"
					outstanding--
					want.Cancelled++
				}
			},
			"fail all to an id": func(t *rapid.T) {
				idx := rapid.Uint32Range(1, 2).Draw(t, "idx")
				var expect []Call
				for _, c := range all {
					if c.state == "outstanding" && c.ID.Idx == idx {
						c.state = "cancelled"
						outstanding--
						want.Cancelled++
						expect = append(expect, c.Call)
					}
				}
				require.Equal(t, expect, g.FailAll(func(c Call) bool { return c.ID.Idx == idx }))
			},
			"": func(t *rapid.T) {
				want.Outstanding = outstanding
				require.Equal(t, want, g.Stats())
				require.LessOrEqual(t, len(g.ring), 128)
			},
		})
	})
}

// Whatever comes in, only the one reply ends a call.
func FuzzGenealogy(f *testing.F) {
	f.Add(uint32(0), uint32(1), uint32(1), uint32(1), uint32(0))
	f.Add(uint32(1<<32-1), uint32(0), uint32(1), uint32(1), uint32(9))
	f.Fuzz(func(t *testing.T, seq, ack, idx, val, port uint32) {
		g := NewGenealogy(&GenealogyConfig{First: seq, Remember: 2})
		c := begin(t, g, cbid.Proc, 4)
		m := &Message{ID: cbid.Make(idx, val), Seq: seq, Ack: ack}
		right := m.Ack == c.Ack+1 && m.ID == c.ID && port == 4
		require.Equal(t, right, match(g, m, port) == ClassReply)
		require.Equal(t, !right, match(g, reply(c), 4) == ClassReply)
	})
}

func BenchmarkGenealogy(b *testing.B) {
	g := NewGenealogy(nil)
	b.ReportAllocs()
	for b.Loop() {
		c, _ := g.Begin(cbid.Proc, 0, nil)
		g.Match(reply(c), &From{})
	}
}
