package rxclient

import (
	"context"
	"sync"
	"time"
)

// underway counts what has begun and not ended.
type underway struct {
	mu   sync.Mutex
	n    int
	none gate // opened when n becomes 0
}

func (u *underway) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n++
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 {
		u.none.open()
	}
}

// wait waits until there is nothing, ctx ends, or d has passed.
func (u *underway) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		u.mu.Lock()
		if u.n == 0 {
			u.mu.Unlock()
			return
		}
		c := u.none.wait()
		u.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return
		case <-t.C:
			return
		}
	}
}
