package connector

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// historyModel is the slow, obviously correct history: a slice.
type historyModel struct {
	bounds History
	next   uint64
	kept   []historyModelMsg
}

type historyModelMsg struct {
	pos  uint64
	time int64
	data []byte
}

func (m *historyModel) bytes() (n int) {
	for _, e := range m.kept {
		n += len(e.data)
	}
	return n
}

func (m *historyModel) trim(now int64) {
	over := func() bool {
		switch {
		case len(m.kept) == 0:
			return false
		case m.bounds.Messages > 0 && len(m.kept) > m.bounds.Messages:
			return true
		case m.bounds.Bytes > 0 && m.bytes() > m.bounds.Bytes:
			return true
		}
		return m.bounds.Age > 0 && now-m.kept[0].time > int64(m.bounds.Age)
	}
	for over() {
		m.kept = m.kept[1:]
	}
}

func (m *historyModel) append(now int64, data []byte) uint64 {
	m.next++
	m.kept = append(m.kept, historyModelMsg{m.next, now, data})
	m.trim(now)
	return m.next
}

// TestHistoryRingAgainstModel drives a ring whose store is large enough and the
// model with the same operations; readers must see the same messages and losses.
func TestHistoryRingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := History{
			Messages: rapid.IntRange(0, 12).Draw(t, "messages"),
			Bytes:    rapid.IntRange(0, 300).Draw(t, "bytes"),
			Age:      time.Duration(rapid.IntRange(0, 20).Draw(t, "age")),
		}
		m := &historyModel{bounds: bounds}
		r := NewHistoryRing(make([]byte, 64), bounds)
		now := int64(0)
		type reader struct {
			c   HistoryCursor
			pos uint64 // last position seen, by the model's reckoning
		}
		var readers []*reader
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				data := rapid.SliceOfN(rapid.Byte(), 0, 90).Draw(t, "data")
				cut := rapid.IntRange(0, len(data)).Draw(t, "cut")
				for !r.MakeRoom(now, len(data)) {
					r.Grow(make([]byte, 2*r.StoreLen()))
				}
				require.Equal(t, m.append(now, data), r.Append(now, data[:cut], data[cut:]))
			},
			"time passes": func(t *rapid.T) {
				now += int64(rapid.IntRange(0, 8).Draw(t, "ns"))
				m.trim(now)
				r.Evict(now)
			},
			"bounds change": func(t *rapid.T) {
				m.bounds.Messages = rapid.IntRange(0, 12).Draw(t, "messages")
				m.trim(now)
				r.SetBounds(now, m.bounds)
			},
			"a reader comes": func(t *rapid.T) {
				pos := rapid.Uint64Range(0, m.next+2).Draw(t, "after")
				readers = append(readers, &reader{r.Seek(pos), min(pos, m.next)})
			},
			"a reader reads": func(t *rapid.T) {
				if len(readers) == 0 {
					t.Skip("no reader")
				}
				rd := rapid.SampledFrom(readers).Draw(t, "reader")
				msg, pos, lost := r.Read(&rd.c)
				first := m.next + 1
				if len(m.kept) > 0 {
					first = m.kept[0].pos
				}
				switch {
				case rd.pos+1 < first:
					require.Equal(t, first-rd.pos-1, lost)
					require.Zero(t, pos)
					rd.pos = first - 1
				case rd.pos == m.next:
					require.Zero(t, pos)
					require.Zero(t, lost)
				default:
					e := m.kept[rd.pos+1-first]
					require.Equal(t, e.pos, pos)
					require.True(t, bytes.Equal(e.data, msg), "%x instead of %x", msg, e.data)
					rd.pos++
				}
				require.Equal(t, rd.pos+1, rd.c.Next())
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(m.kept), r.Len())
				require.Equal(t, m.bytes(), r.Bytes())
				require.Equal(t, m.next, r.Last())
				require.LessOrEqual(t, r.tail-r.head, uint64(len(r.store)))
			},
		})
	})
}

func TestHistoryRingEvictsWhenTheStoreIsFull(t *testing.T) {
	r := NewHistoryRing(make([]byte, 4*HistorySize(10)), History{})
	c := r.Seek(0)
	for i := range 10 {
		r.Append(0, []byte{byte(i)}, make([]byte, 9))
	}
	assert.Equal(t, 4, r.Len())
	assert.EqualValues(t, 7, r.First())
	assert.EqualValues(t, 10, r.Last())
	_, _, lost := r.Read(&c)
	assert.EqualValues(t, 6, lost)
	for want := range uint64(4) {
		msg, pos, lost := r.Read(&c)
		assert.Zero(t, lost)
		require.Equal(t, want+7, pos)
		assert.EqualValues(t, pos-1, msg[0])
	}
	_, pos, lost := r.Read(&c)
	assert.Zero(t, pos+lost)
}

func TestHistoryRingGivesAPositionToWhatItCannotKeep(t *testing.T) {
	r := NewHistoryRing(make([]byte, 64), History{})
	c := r.Seek(0)
	r.Append(0, []byte("kept"), nil)
	assert.EqualValues(t, 2, r.Append(0, make([]byte, 100), nil))
	assert.Zero(t, r.Len())
	assert.EqualValues(t, 3, r.Append(0, []byte("after"), nil))
	_, _, lost := r.Read(&c)
	assert.EqualValues(t, 2, lost)
	msg, pos, _ := r.Read(&c)
	assert.Equal(t, "after", string(msg))
	assert.EqualValues(t, 3, pos)
}

func TestHistoryRingAppendAllocatesNothing(t *testing.T) {
	r := NewHistoryRing(make([]byte, 1<<16), History{Messages: 100, Bytes: 1 << 14, Age: time.Second})
	msg := make([]byte, 128)
	now := int64(0)
	c := r.Seek(0)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		now += int64(time.Millisecond)
		r.Append(now, msg[:40], msg[40:])
		r.Read(&c)
	}))
}

// FuzzHistoryRing appends messages of the fuzzer's sizes into a store of its size: no reader
// may ever see a torn message, a gap that is not told, or a panic.
func FuzzHistoryRing(f *testing.F) {
	f.Add(uint16(64), uint8(0), uint16(0), []byte{1, 2, 3, 200, 5})
	f.Add(uint16(0), uint8(3), uint16(10), []byte{0, 0, 0, 255, 255})
	f.Add(uint16(1000), uint8(1), uint16(100), []byte{24, 25, 40, 99, 100, 101, 8, 7})
	f.Fuzz(func(t *testing.T, store uint16, messages uint8, size uint16, ops []byte) {
		r := NewHistoryRing(make([]byte, int(store)), History{Messages: int(messages), Bytes: int(size)})
		c := r.Seek(0)
		seen := uint64(0)
		read := func() {
			for {
				msg, pos, lost := r.Read(&c)
				if pos == 0 && lost == 0 {
					return
				}
				seen += lost
				if pos == 0 {
					continue
				}
				seen++
				require.Equal(t, seen, pos)
				for _, b := range msg {
					require.Equal(t, byte(pos), b)
				}
			}
		}
		for i, op := range ops {
			r.Append(int64(i), bytes.Repeat([]byte{byte(i + 1)}, int(op)), nil)
			if op%3 == 0 {
				read()
			}
		}
		read()
		require.Equal(t, uint64(len(ops)), seen)
	})
}
