package busbench

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// messages plays numbered messages of 32 bytes into a tally, the last marked as such.
func messages(t *tally, seqs ...uint64) {
	for i, s := range seqs {
		p := payload{seq: s, sent: 100}
		if i == len(seqs)-1 {
			p.flags = payloadLast | payloadTimed
		}
		b := make([]byte, 32)
		p.put(b)
		t.on(b, func() int64 { return 150 })
	}
}

func TestPayloadSurvives(t *testing.T) {
	b := make([]byte, payloadHeader)
	p := payload{seq: 1 << 40, sent: -5, flags: 3}
	p.put(b)
	got, ok := parsePayload(b)
	require.True(t, ok)
	assert.Equal(t, p, got)
	_, ok = parsePayload(b[:payloadHeader-1])
	assert.False(t, ok)
}

func TestTallyNoticesWhatIsMissingAndOutOfOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		seqs []uint64
		want received
	}{
		{"all there", []uint64{0, 1, 2}, received{Count: 3}},
		{"first missing", []uint64{1, 2}, received{Count: 2, Gaps: 1}},
		{"two missing", []uint64{0, 3}, received{Count: 2, Gaps: 2}},
		{"swapped", []uint64{0, 2, 1, 3}, received{Count: 4, Gaps: 1, Disorder: 1}},
		{"twice", []uint64{0, 0, 1}, received{Count: 3, Disorder: 1}},
	} {
		var got []received
		tl := &tally{done: func(r received) { got = append(got, r) }}
		messages(tl, c.seqs...)
		require.Len(t, got, 1, c.name)
		c.want.Last, c.want.Size, c.want.Took = 150, 32, []int64{50}
		assert.Equal(t, c.want, got[0], c.name)
	}
}

func TestTallyBeginsEachRunAnewButKeepsTheNumber(t *testing.T) {
	var got []received
	tl := &tally{done: func(r received) { got = append(got, r) }}
	messages(tl, 0, 1)
	tl.lost(2)
	tl.on([]byte("short"), nil)
	messages(tl, 4, 5)
	require.Len(t, got, 2)
	assert.Zero(t, got[0].Lost)
	assert.Equal(t, received{Count: 2, Gaps: 2, Lost: 2, Malformed: 1, Last: 150, Size: 32, Took: []int64{50}}, got[1])
}
