package layered

import "context"

// A Life joins the contexts of the operations of one direction with the life of
// the stream, for a stream whose Close leaves the lower stream open. The last one is kept, so that a
// loop of operations with one context allocates nothing.
type Life struct {
	done   <-chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	stop   func() bool
}

// Join returns a context that ends with ctx and with life.
func (l *Life) Join(ctx, life context.Context) context.Context {
	done := ctx.Done()
	switch done {
	case nil:
		return life
	case l.done:
		return l.ctx
	}
	if l.stop != nil {
		l.stop()
		l.cancel()
	}
	l.done = done
	l.ctx, l.cancel = context.WithCancel(ctx)
	l.stop = context.AfterFunc(life, l.cancel)
	return l.ctx
}
