package connector

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

func TestFullMailbox(t *testing.T) {
	for name, config := range map[string]*RegistryConfig{
		"messages": {Queue: 2},
		"bytes":    {QueueBytes: 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRegistry(t.Context(), config)
				goOn := make(chan struct{})
				var got []uint32
				id := cbid.Make(1, 2)
				e := mustAdd(t, r, id, HandlerFunc(func(_ context.Context, d *Delivery) {
					got = append(got, d.Msg.Seq)
					<-goOn
				}))
				send := func(ctx context.Context, n int, full WhenFull) error {
					d := numbered(id, n)
					d.Msg.Data = make([]byte, 10)
					return r.Dispatch(ctx, d, full)
				}
				var wg sync.WaitGroup
				wg.Go(func() { assert.NoError(t, send(t.Context(), 0, FullDefault)) })
				synctest.Wait()
				require.NoError(t, send(t.Context(), 1, FullDefault))
				require.NoError(t, send(t.Context(), 2, FullDrop))
				require.ErrorIs(t, send(t.Context(), 90, FullDrop), ErrWouldBlock)
				assert.Equal(t, 2, e.Queued())

				ctx, cancel := context.WithCancel(t.Context())
				results := make([]error, 6)
				for n := 3; n < 6; n++ {
					ctx := ctx
					if n != 4 {
						ctx = t.Context()
					}
					wg.Go(func() { results[n] = send(ctx, n, FullDefault) })
					synctest.Wait()
				}
				cancel()
				synctest.Wait()
				require.ErrorIs(t, results[4], context.Canceled, "it waits up to ctx")
				require.ErrorIs(t, send(t.Context(), 91, FullDrop), ErrWouldBlock, "nobody overtakes those who wait")
				close(goOn)
				wg.Wait()
				synctest.Wait()
				assert.Equal(t, []uint32{0, 1, 2, 3, 5}, got, "in the order sent, the cancelled one missing")
			})
		})
	}
}

func TestEnqueue(t *testing.T) {
	room := 0
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 2, Room: func(*Entry) { room++ }})
	id := cbid.Make(1, 2)
	var got []uint32
	var released []int
	e := mustAdd(t, r, id, HandlerFunc(func(_ context.Context, d *Delivery) {
		assert.Len(t, released, int(d.Msg.Seq), "earlier ones were given back, this one was not")
		assert.Equal(t, fmt.Sprint(d.Msg.Seq), string(d.Msg.Data))
		got = append(got, d.Msg.Seq)
		if d.Msg.Seq == 2 {
			panic("released all the same")
		}
	}))
	for n := range 4 {
		d := numbered(id, n)
		d.Msg.Data = fmt.Append(nil, n)
		q, err := e.Enqueue(d, func() { released = append(released, n) })
		require.NoError(t, err)
		assert.Equal(t, Queued{Start: n == 0, Full: n >= 1}, q)
	}
	assert.Equal(t, 4, e.Queued())
	assert.Empty(t, got)
	e.Run()
	assert.Equal(t, []uint32{0, 1, 2, 3}, got)
	assert.Equal(t, []int{0, 1, 2, 3}, released)
	assert.Equal(t, 1, room)

	d := numbered(id, 4)
	d.Msg.Data = []byte("4")
	q, err := e.Enqueue(d, nil)
	require.NoError(t, err)
	assert.Equal(t, Queued{Start: true}, q)
	d.Msg.Data[0] = 'x' // it was copied
	e.Run()
	assert.Equal(t, []uint32{0, 1, 2, 3, 4}, got)
	assert.Equal(t, 1, room, "it was not full")
}

type interested struct {
	HandlerFunc
	told []string
}

func (h *interested) Interest(_ context.Context, group uint32, listening bool) {
	h.told = append(h.told, fmt.Sprint(group, listening))
}

func TestInterestInOrderAndBounded(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	h := &interested{}
	h.HandlerFunc = func(_ context.Context, d *Delivery) { h.told = append(h.told, fmt.Sprint(d.Msg.Seq)) }
	id := cbid.Make(5, 1)
	e := mustAdd(t, r, id, h)
	e.Interest(false)
	e.Interest(false)
	e.Interest(true)
	assert.Equal(t, []string{"5 false", "5 true"}, h.told, "at once when idle, each change once")

	h.told = nil
	q, err := e.Enqueue(numbered(id, 1), nil)
	require.NoError(t, err)
	require.True(t, q.Start)
	for range 1000 {
		assert.False(t, e.EnqueueInterest(false))
		assert.False(t, e.EnqueueInterest(true))
	}
	_, err = e.Enqueue(numbered(id, 2), nil)
	require.NoError(t, err)
	e.EnqueueInterest(false)
	assert.LessOrEqual(t, len(e.box.items), 4, "members that come and go do not fill the mailbox")
	e.Run()
	assert.Equal(t, []string{"1", "2", "5 false"}, h.told)

	plain := mustAdd(t, r, cbid.Make(5, 2), nothing)
	assert.False(t, plain.EnqueueInterest(true))
	require.NoError(t, r.Close(t.Context()))
	assert.False(t, e.EnqueueInterest(true))
}
