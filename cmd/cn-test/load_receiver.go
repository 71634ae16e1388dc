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

	delivered atomic.Uint64
	lost      atomic.Uint64 // reported by the carrier

	// What follows belongs to run, and to who waited for it.
	next     []uint64 // for each sender, the number that comes next
	missing  uint64   // numbers that were skipped
	wrong    uint64   // messages out of order, doubled, or of nobody
	unknown  bool     // a loss whose number nobody knows
	finished int      // senders whose mark has come
}

func newLoadReceiver(ep connector.Endpoint, senders int, slow bool) *loadReceiver {
	return &loadReceiver{ep: ep, slow: slow, next: make([]uint64, senders)}
}

// A slow receiver pauses for slowPause after every slowEvery messages, as long as
// the senders are at it.
const (
	slowEvery = 64
	slowPause = 10 * time.Millisecond
)

// run receives until the mark of each sender has come.
func (r *loadReceiver) run(ctx context.Context) error {
	var pause *time.Timer
	if r.slow {
		pause = time.NewTimer(0)
		defer pause.Stop()
	}
	for n := 0; r.finished < len(r.next); n++ {
		ev, err := r.ep.Recv(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		r.take(&ev)
		if r.slow && r.finished == 0 && n%slowEvery == 0 {
			pause.Reset(slowPause)
			<-pause.C
		}
	}
	return nil
}

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
	n := binary.NativeEndian.Uint64(data[8:])
	if int64(sender) >= int64(len(r.next)) || n < r.next[sender] {
		r.wrong++
		return
	}
	r.delivered.Add(1)
	r.missing += n - r.next[sender]
	r.next[sender] = n + 1
	if binary.NativeEndian.Uint32(data[4:]) == 1 {
		r.finished++
	}
}

// balanced reports whether what was sent is what was delivered plus what was
// reported lost, by the carrier's word and by the numbers in the messages.
func (r *loadReceiver) balanced(sent uint64) bool {
	lost := r.lost.Load()
	return r.wrong == 0 && !r.unknown && r.missing == lost && r.delivered.Load()+lost == sent
}
