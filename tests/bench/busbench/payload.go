package busbench

import "encoding/binary"

// A published message begins with its number, the time it was sent and flags.
const payloadHeader = 8 + 8 + 1

const (
	payloadLast  = 1 // the last of a run: the subscriber reports
	payloadTimed = 2 // the subscriber keeps how long it took
)

type payload struct {
	seq   uint64
	sent  int64
	flags byte
}

func (p payload) put(b []byte) {
	binary.LittleEndian.PutUint64(b, p.seq)
	binary.LittleEndian.PutUint64(b[8:], uint64(p.sent))
	b[16] = p.flags
}

func parsePayload(b []byte) (payload, bool) {
	if len(b) < payloadHeader {
		return payload{}, false
	}
	return payload{
		seq:   binary.LittleEndian.Uint64(b),
		sent:  int64(binary.LittleEndian.Uint64(b[8:])),
		flags: b[16],
	}, true
}

// tally is what a subscriber counts. One goroutine owns it.
type tally struct {
	next uint64
	r    received
	done func(received)
}

// received is a subscriber's report of one run, up to the message marked as the last.
type received struct {
	Count     uint64  // messages
	Gaps      uint64  // messages missing by number
	Disorder  uint64  // messages with a number lower than expected
	Malformed uint64  // messages too short to be ours
	Lost      uint64  // messages that the system reported as lost
	Size      int     // length of the last
	Last      int64   // when it came
	Took      []int64 // ns from sending to arrival, of the timed ones
}

// on counts one message; now tells the time.
func (t *tally) on(b []byte, now func() int64) {
	p, ok := parsePayload(b)
	if !ok {
		t.r.Malformed++
		return
	}
	t.r.Count++
	switch {
	case p.seq > t.next:
		t.r.Gaps += p.seq - t.next
		t.next = p.seq + 1
	case p.seq < t.next:
		t.r.Disorder++
	default:
		t.next++
	}
	if p.flags == 0 {
		return
	}
	at := now()
	if p.flags&payloadTimed != 0 {
		t.r.Took = append(t.r.Took, at-p.sent)
	}
	if p.flags&payloadLast != 0 {
		t.r.Last, t.r.Size = at, len(b)
		r := t.r
		t.r = received{}
		t.done(r)
	}
}

// lost counts messages that the system said it lost here.
func (t *tally) lost(n uint64) { t.r.Lost += n }
