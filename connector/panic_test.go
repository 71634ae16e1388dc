package connector

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

func TestPanicsAreContained(t *testing.T) {
	type report struct {
		value any
		stack string
	}
	var reports []report
	r := NewRegistry(t.Context(), &RegistryConfig{Panic: func(e *Entry, value any, stack []byte) {
		assert.Equal(t, "test", e.Info().Name)
		reports = append(reports, report{value, string(stack)})
	}})
	id := cbid.Make(1, 2)
	var got []uint32
	e := mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		got = append(got, d.Msg.Seq)
		if d.Msg.Seq == 0 { // the next ones are queued
			assert.NoError(t, r.Dispatch(ctx, numbered(id, 1), FullDefault))
			assert.NoError(t, r.Dispatch(ctx, numbered(id, 2), FullDefault))
		}
		if d.Msg.Seq < 2 {
			panicHere(d.Msg.Seq)
		}
	}))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 0), FullDefault))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 3), FullDefault), "the registration lives on")
	assert.Equal(t, []uint32{0, 1, 2, 3}, got)
	assert.Equal(t, uint64(2), e.Panics())
	assert.Equal(t, uint64(4), e.Handled())
	require.Len(t, reports, 2)
	assert.Equal(t, uint32(1), reports[1].value)
	assert.Contains(t, reports[0].stack, "panicHere")
	require.NoError(t, r.Del(t.Context(), e))
}

// A callback may end its goroutine (as t.FailNow does): that goroutine is the
// sender's, but the id goes on.
func TestGoexitInCallback(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(1, 2)
	second := make(chan struct{})
	e := mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		if d.Msg.Seq == 1 {
			close(second)
			return
		}
		assert.NoError(t, r.Dispatch(ctx, numbered(id, 1), FullDefault))
		runtime.Goexit()
	}))
	go func() { _ = r.Dispatch(t.Context(), numbered(id, 0), FullDefault) }()
	<-second
	require.NoError(t, r.Del(t.Context(), e))
	assert.Equal(t, uint64(1), e.Panics())
	assert.Equal(t, uint64(2), e.Handled())
}

// A sender does not become the one who serves an id for ever.
func TestInlineSenderHandsOver(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(1, 2)
	stop := make(chan struct{})
	e := mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, _ *Delivery) {
		select {
		case <-stop:
		default:
			err := r.Dispatch(ctx, numbered(id, 0), FullDefault) // one message begets the next
			select {
			case <-stop: // since it was asked: the id may be removed already
			default:
				assert.NoError(t, err)
			}
		}
	}))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 0), FullDefault))
	close(stop)
	require.NoError(t, r.Del(t.Context(), e))
}

func panicHere(v any) { panic(v) }
