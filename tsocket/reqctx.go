package tsocket

import (
	"context"
	"sync"
	"time"
)

// reqCtx is the context that a running operation of a Request sees. It ends
// when the request is cancelled, times out, or is to be handed over to somebody else.
// Unlike context.WithCancel it costs nothing until somebody looks at it.
type reqCtx struct {
	parent context.Context // for Value

	mu    sync.Mutex // guards the fields below; their users are called without it
	err   error
	done  chan struct{}
	arm   *arm // the socket's interrupter while an operation of it runs
	hooks map[*func()]struct{}
}

func (c *reqCtx) Deadline() (time.Time, bool) { return c.parent.Deadline() }
func (c *reqCtx) Value(key any) any           { return c.parent.Value(key) }

func (c *reqCtx) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

func (c *reqCtx) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what context.AfterFunc and the contexts derived from this one
// use, instead of a goroutine.
func (c *reqCtx) AfterFunc(f func()) (stop func() bool) {
	key := &f
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.hooks == nil {
		c.hooks = make(map[*func()]struct{})
	}
	c.hooks[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.hooks[key]
		delete(c.hooks, key)
		return waiting
	}
}

// attach makes the end of c interrupt a; it returns false if c has ended.
func (c *reqCtx) attach(a *arm) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.arm = a
	return true
}

func (c *reqCtx) detach() {
	c.mu.Lock()
	c.arm = nil
	c.mu.Unlock()
}

// cancel ends the context.
func (c *reqCtx) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	a, hooks := c.arm, c.hooks
	c.hooks = nil
	if c.done != nil {
		close(c.done)
	}
	c.mu.Unlock()
	if a != nil {
		a.fire()
	}
	for f := range hooks {
		go (*f)()
	}
}
