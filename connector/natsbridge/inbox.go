package natsbridge

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// inboxPackets is how many payloads one read of NATS's client may have brought, and inboxBytes how much may wait for the broker, before
	// more is dropped, as lost.
	inboxPackets = 1 << 12
	inboxBytes   = 64 << 20
	// inboxBatch is how many of them are given to the broker at a time, and inboxTurn after how many bytes no more are.
	inboxBatch = 256
	inboxTurn  = 256 << 10
)

// inbox is what has come from NATS and waits for the broker's loop, bounded in bytes: what is beyond is dropped, as the network might have
// done. NATS's reader puts in, the loop takes out.
type inbox struct {
	wake func() bool // has the loop call batch and taken

	mu     sync.Mutex // guards what follows
	msgs   []*nats.Msg
	bytes  int
	told   time.Time // that one was dropped
	opened bool      // there is a loop
	woken  bool      // and it will take something

	spare []*nats.Msg // of the loop
}

// put drops m if there is no room; first says that it is the first one for some time. One payload fits, whatever its length.
func (q *inbox) put(m *nats.Msg) (dropped, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > 0 && q.bytes+len(m.Data) > inboxBytes {
		if now := time.Now(); now.Sub(q.told) >= slowAgain {
			first, q.told = true, now
		}
		return true, first
	}
	q.bytes += len(m.Data)
	q.msgs = append(q.msgs, m)
	return false, false
}

// open says that there is a loop from now on.
func (q *inbox) open() {
	q.mu.Lock()
	q.opened = true
	q.mu.Unlock()
	q.ready()
}

// ready wakes the loop if there is something, and it does not know.
func (q *inbox) ready() {
	q.mu.Lock()
	wake := q.opened && !q.woken && len(q.msgs) > 0
	q.woken = q.woken || wake
	q.mu.Unlock()
	if wake {
		q.wake()
	}
}

// taken ends what batch began. What is left is for another turn of the loop.
func (q *inbox) taken() {
	clear(q.spare)
	q.mu.Lock()
	q.woken = false
	q.mu.Unlock()
	q.ready()
}

// batch returns the first ones, until taken is called.
func (q *inbox) batch() []*nats.Msg {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for sum := 0; n < len(q.msgs) && n < inboxBatch && sum < inboxTurn; n++ {
		sum += len(q.msgs[n].Data)
	}
	b := append(q.spare[:0], q.msgs[:n]...)
	q.spare = b
	rest := copy(q.msgs, q.msgs[n:])
	clear(q.msgs[rest:])
	if q.msgs = q.msgs[:rest]; rest == 0 && cap(q.msgs) > 4*inboxBatch {
		q.msgs = nil
	}
	for _, m := range b {
		q.bytes -= len(m.Data)
	}
	return b
}
