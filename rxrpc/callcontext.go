package rxrpc

import (
	"context"
	"time"
)

// callContext is the context of a ServerCall. It is the same object, so that a call
// makes no other; its channel is made when somebody asks for it.
type callContext ServerCall

func (c *callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.over {
			close(c.done)
		}
	}
	return c.done
}

// Err is context.Canceled once the call has ended: there is no other reason in the
// interface's contract.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return context.Canceled
	}
	return nil
}

func (c *callContext) Value(key any) any {
	if key == (serverCallKey{}) {
		return (*ServerCall)(c)
	}
	return nil
}

type serverCallKey struct{}

// CallOf returns the call that a handler's context belongs to, nil for another context.
func CallOf(ctx context.Context) *ServerCall {
	s, _ := ctx.Value(serverCallKey{}).(*ServerCall)
	return s
}
