package tsocket_test

import (
	"context"
	"net"
	"sync"
)

// heldOps is a stream on which nothing ever happens, until it is let.
type heldOps struct {
	disconnect chan struct{}
	closed     chan struct{}
	once       sync.Once
}

func newHeld() *heldOps {
	return &heldOps{disconnect: make(chan struct{}), closed: make(chan struct{})}
}

func (h *heldOps) wait(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-h.closed:
		return net.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *heldOps) ReadSome(ctx context.Context, _ [][]byte) (int, error) { return 0, h.wait(ctx, nil) }

func (h *heldOps) Writev(ctx context.Context, _ [][]byte) (int64, error) { return 0, h.wait(ctx, nil) }

func (h *heldOps) Pending() (int, error) { return 0, nil }

func (h *heldOps) Disconnect(ctx context.Context) error { return h.wait(ctx, h.disconnect) }

func (h *heldOps) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}
