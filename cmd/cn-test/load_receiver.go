package main

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// loadReceiver counts what comes and what does not.
type loadReceiver struct {
	ep   connector.Endpoint
	slow bool
	site bool // a sender's mark may come before what was sent ahead of it

	delivered atomic.Uint64
	lost      atomic.Uint64 // reported by the carrier

	// What follows belongs to run, and to who waited for it.
	next     []uint64 // for each sender, the number that comes next
	skipped  uint64   // numbers
	wrong    uint64   // messages out of order, doubled, or of nobody
	unknown  bool     // a loss whose number nobody knows
	finished int      // senders whose mark has come
	due      uint64   // messages that the marks speak of
	ends     []uint64 // of a site: for each sender, the number of its mark
	begun    []bool   // of a site: for each sender, whether it was heard
}

func newLoadReceiver(ep connector.Endpoint, senders int, slow bool) *loadReceiver {
	return &loadReceiver{ep: ep, slow: slow, next: make([]uint64, senders), ends: make([]uint64, senders), begun: make([]bool, senders)}
}

// A slow receiver pauses for slowPause after every slowEvery messages, as long as
// the senders are at it.
const (
	slowEvery = 64
	slowPause = 10 * time.Millisecond
)

// complete reports whether the account can be closed: the mark of each sender has come, and on a site also what they speak of.
func (r *loadReceiver) complete() bool {
	return r.finished == len(r.next) && (!r.site || r.delivered.Load()+r.lost.Load() >= r.due)
}

// run receives until the account is complete. On a site one that is not complete after tailTime is closed as it is.
func (r *loadReceiver) run(ctx context.Context) error {
	var pause *time.Timer
	if r.slow {
		pause = time.NewTimer(0)
		defer pause.Stop()
	}
	tail, closed := context.WithCancel(ctx)
	defer closed()
	late := time.AfterFunc(1<<62, closed)
	defer late.Stop()
	for n := 0; !r.complete(); n++ {
		ev, err := r.ep.Recv(tail)
		if err != nil {
			if ctx.Err() == nil && tail.Err() != nil {
				return nil // the account will not balance, and says by how much
			}
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		marks := r.finished
		r.take(&ev)
		if r.site && r.finished > marks && r.finished == len(r.next) {
			late.Reset(tailTime)
		}
		if r.slow && r.finished == 0 && n%slowEvery == 0 {
			pause.Reset(slowPause)
			<-pause.C
		}
	}
	return nil
}

// tailTime is how long after the last mark the end of a group's messages may be told as lost: three beacons, of which a host
// sends five in each lease, are 9 s; the machine may be slow.
const tailTime = 45 * time.Second

func (r *loadReceiver) take(ev *connector.Event) {
	switch ev.Kind {
	case connector.EventLost:
		r.lost.Add(ev.Lost)
		r.unknown = r.unknown || ev.Unknown
	case connector.EventMessage:
		r.message(ev.Msg.Data)
	}
}

func (r *loadReceiver) message(data []byte) {
	if len(data) < markLen {
		r.wrong++
		return
	}
	sender := binary.NativeEndian.Uint32(data)
	mark := binary.NativeEndian.Uint32(data[4:])
	n := binary.NativeEndian.Uint64(data[8:])
	switch {
	case int64(sender) >= int64(len(r.next)) || r.ends[sender] != 0 && (mark == markLast || n >= r.ends[sender]-1):
		r.wrong++ // of nobody, or behind the last one
		return
	case mark == markBegin:
		r.begun[sender] = true
		return
	case r.site && mark == markLast:
		r.delivered.Add(1)
		r.end(sender, n)
		return
	case n < r.next[sender]:
		r.wrong++
		return
	}
	r.delivered.Add(1)
	r.skipped += n - r.next[sender]
	r.next[sender] = n + 1
	if mark == markLast {
		r.end(sender, n)
	}
}

// end takes the mark of a sender, which has number n.
func (r *loadReceiver) end(sender uint32, n uint64) {
	r.finished++
	r.due += n + 1
	r.ends[sender] = n + 1
}

// missing is how many numbers have not come.
func (r *loadReceiver) missing() uint64 {
	n := r.skipped
	if r.site { // where next does not count the mark
		for i, end := range r.ends {
			if end > 0 {
				n += end - 1 - r.next[i]
			}
		}
	}
	return n
}

// balanced reports whether what was sent is what was delivered plus what was
// reported lost, by the carrier's word and by the numbers in the messages.
func (r *loadReceiver) balanced(sent uint64) bool {
	lost := r.lost.Load()
	return r.wrong == 0 && !r.unknown && r.missing() == lost && r.delivered.Load()+lost == sent
}
