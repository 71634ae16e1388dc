package wire

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Nothing that a datagram causes here allocates, whether it is good or bad.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		return // the detector allocates
	}
	var all [][]byte
	for _, c := range captures(t) {
		for _, b := range c[:min(len(c), 20)] {
			all = append(all, b, b[:len(b)/2], b[:len(b)-1])
		}
	}
	buf := make([]byte, 0, 1<<16)
	assert.Zero(t, testing.AllocsPerRun(5, func() {
		for _, b := range all {
			handle(b, buf)
		}
	}))
	var j Joiner
	full := make([]byte, JumboData)
	assert.Zero(t, testing.AllocsPerRun(5, func() {
		j.Reset(buf)
		h := Header{Type: TypeData, Seq: 1, Serial: 1}
		for range 40 {
			if j.Add(h, full) != nil {
				panic("refused")
			}
			h.Seq++
			h.Serial++
		}
		if j.Add(h, full[1:]) != nil || j.Add(h, full) == nil {
			panic("accepted")
		}
	}))
}

// handle does with a datagram all that an endpoint can.
func handle(b, buf []byte) {
	h, body, s := Screen(b)
	if s.Verdict == Reject {
		AppendReject(buf, &h, s.Code)
	}
	h.Append(buf)
	AppendText(buf, b)
	switch h.Type {
	case TypeData:
		parts, err := SplitData(h, body)
		for err == nil {
			if _, _, ok := parts.Next(); !ok {
				break
			}
		}
	case TypeAck:
		if a, err := ParseAck(body); err == nil {
			a.Append(buf)
			ClampTrailer(a.Trailer)
			a.Missing()
		}
	case TypeAbort:
		_, _ = ParseAbort(body)
	case TypeDebug:
		_, _ = ParseDebugRequest(body)
		if r, err := ParseDebugStats(body); err == nil {
			r.Append(buf)
		}
		if r, err := ParseDebugConn(body, DebugVersion); err == nil {
			r.Append(buf)
		}
		if r, err := ParseDebugPeer(body); err == nil {
			r.Append(buf)
		}
		if r, err := ParseRxStats(body); err == nil {
			r.Append(buf)
		}
	case TypeVersion:
		AppendVersion(buf, "text")
	}
}
