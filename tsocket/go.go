package tsocket

import "context"

// Go starts fn on a goroutine and returns its outcome as a Request: for
// operations that are made of several others, as a handshake is. fn has to return soon
// after its ctx has ended, which is when the request is cancelled, times out, or the ctx given
// here ends; the error is then an OpError with that op, and what fn returned is dropped:
// fn frees it.
func Go[T any](ctx context.Context, op string, fn func(ctx context.Context) (T, error)) *Request[T] {
	r := newRequest(ctx, job[T](&goJob[T]{op, fn}), true)
	r.promote()
	r.watchParent()
	return r
}

type goJob[T any] struct {
	op string
	fn func(ctx context.Context) (T, error)
}

func (j *goJob[T]) run(ctx context.Context) (T, error) {
	v, err := j.fn(ctx)
	if err != nil && interrupted(ctx, err) {
		err = errInterrupted
	}
	return v, err
}

func (j *goJob[T]) stop(cause error) (T, error) {
	var zero T
	return zero, &OpError{Op: j.op, Err: cause}
}

func (j *goJob[T]) release() {}
