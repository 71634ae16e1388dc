package bussock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// noWait is a context that ends when somebody begins to wait for its end. A message that is posted
// with it is taken at once or, with errWouldWait, not at all, on every carrier: one looks whether its context
// has ended before it does anything, and waits for the end of it only where it waits at all.
type noWait struct{ over atomic.Bool }

var errWouldWait = fmt.Errorf("would wait: %w", context.Canceled)

var closedChan = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done ends the context.
func (n *noWait) Done() <-chan struct{} {
	n.over.Store(true)
	return closedChan
}

// Err returns nil until somebody has waited.
func (n *noWait) Err() error {
	if n.over.Load() {
		return errWouldWait
	}
	return nil
}

// Deadline returns that there is none.
func (n *noWait) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value returns nil.
func (n *noWait) Value(any) any { return nil }

var _ context.Context = (*noWait)(nil)
