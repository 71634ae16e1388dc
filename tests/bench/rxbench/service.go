package rxbench

import (
	"context"
	"encoding/binary"
	"io"
	"sync"

	"github.com/cnbus/cnbus/rxrpc"
)

// opMeet is an operation of ours: it replies when as many calls are there as its u32 says.
const opMeet = 99

// meeting is where calls wait for each other.
type meeting struct {
	mu      sync.Mutex
	waiting []chan struct{}
}

func (m *meeting) serve(ctx context.Context, call *rxrpc.ServerCall, op uint32) error {
	var b [4]byte
	if _, err := io.ReadFull(call, b[:]); err != nil || op != opMeet {
		return rxrpc.Abort(rxrpc.BadOpcode)
	}
	c := make(chan struct{})
	m.mu.Lock()
	if m.waiting = append(m.waiting, c); len(m.waiting) == int(binary.BigEndian.Uint32(b[:])) {
		for _, c := range m.waiting {
			close(c)
		}
		m.waiting = nil
	}
	m.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
