package proto

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
)

// An idle connection takes 4 KiB at most, with its peer and all that finds it.
func TestMemoryOfAnIdleConnection(t *testing.T) {
	const n = 5000
	assert.LessOrEqual(t, unsafe.Sizeof(conn{}), uintptr(1024))
	if raceDetector {
		return
	}
	r := newRig(t, Config{Limits: Limits{RepliesPerSecond: -1}})
	r.auto()
	use := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	serve := func(i int) {
		h := fromClient(wire.TypeData, 1, 1)
		h.Flags |= last
		h.CID = wire.CID(4 * i)
		r.Receive(r.now, v4(i), append(h.Append(nil), 'x'))
		for {
			ev, ok := r.Event()
			if !ok {
				break
			}
			if ev.What.Has(Arrived) {
				r.data(ev.Call)
				_, _ = ev.Call.Send(r.now, []byte("y"), false)
				ev.Call.Release(r.now)
			}
		}
		r.out()
		a := h
		a.Type, a.Seq = wire.TypeAck, 0
		r.Receive(r.now, v4(i), append(a.Append(nil), ack(wire.AckIdle, 2, 1, 0)...))
		r.out()
	}
	for i := range 100 {
		serve(i)
	}
	before := use()
	for i := range n {
		serve(1000 + i)
	}
	each := (use() - before) / n
	assert.Equal(t, n+100, len(r.allConns))
	assert.Zero(t, r.stats.LiveCalls)
	assert.LessOrEqual(t, each, uint64(4096))
	t.Logf("%d bytes each, %d of them the connection", each, unsafe.Sizeof(conn{}))
}
