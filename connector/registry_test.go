package connector

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cbid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var nothing = HandlerFunc(func(context.Context, *Delivery) {})

func mustAdd(t testing.TB, r *Registry, id cbid.ID, h Handler) *Entry {
	t.Helper()
	e, err := r.Add(IDInfo{ID: id, Name: "test"}, h)
	require.NoError(t, err)
	return e
}

func numbered(id cbid.ID, n int) *Delivery { return &Delivery{Msg: Message{ID: id, Seq: uint32(n)}} }

func TestRegistryAddRefuses(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	id := cbid.Make(0x123, 0x456)
	_, err := r.Add(IDInfo{ID: id, Name: strings.Repeat("x", MaxName)}, nothing)
	require.NoError(t, err, "31 bytes fit")
	for name, c := range map[string]struct {
		info IDInfo
		h    Handler
		want error
	}{
		"duplicate":   {IDInfo{ID: id}, nothing, ErrDuplicate},
		"long name":   {IDInfo{ID: cbid.Proc, Name: strings.Repeat("x", MaxName+1)}, nothing, ErrInvalid},
		"long umlaut": {IDInfo{ID: cbid.Proc, Name: strings.Repeat("ü", 16)}, nothing, ErrInvalid},
		"NUL":         {IDInfo{ID: cbid.Proc, Name: "a\x00b"}, nothing, ErrInvalid},
		"no handler":  {IDInfo{ID: cbid.Proc}, nil, ErrInvalid},
	} {
		_, err := r.Add(c.info, c.h)
		require.ErrorIs(t, err, c.want, name)
		require.ErrorIs(t, err, syscall.EINVAL, name)
		var op *OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, c.info.ID, op.ID)
	}
	assert.Equal(t, 1, r.Len())
	assert.Nil(t, r.Lookup(cbid.Proc))
}

func TestRegistryGroups(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	a := mustAdd(t, r, cbid.Make(5, 1), nothing)
	b := mustAdd(t, r, cbid.Make(5, 2), nothing)
	c := mustAdd(t, r, cbid.Make(6, 1), nothing)
	assert.Equal(t, uint32(5), a.Info().Group)
	five := r.Group(5)
	assert.Equal(t, []*Entry{a, b}, five)
	require.NoError(t, r.Del(t.Context(), a))
	assert.Equal(t, []*Entry{b}, r.Group(5))
	assert.Equal(t, []*Entry{a, b}, five, "what was handed out stays")
	require.NoError(t, r.Del(t.Context(), b))
	assert.Empty(t, r.Group(5))
	assert.Equal(t, []*Entry{c}, slices.Collect(r.All()))
}

func TestDispatchRunsInline(t *testing.T) {
	type key struct{}
	r := NewRegistry(context.WithValue(t.Context(), key{}, "bus"), nil)
	var got *Delivery
	id := cbid.Make(1, 2)
	e := mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		got = d.Detach()
		assert.Equal(t, "bus", ctx.Value(key{}), "the context is the registry's")
	}))
	d := &Delivery{Msg: counter(), From: From{Port: 3, Cred: Cred{1, 2, 3}}, Call: true}
	d.Msg.ID = id
	require.NoError(t, r.Dispatch(t.Context(), d, FullDefault))
	assert.Equal(t, d, got)
	assert.Equal(t, uint64(1), e.Handled())

	err := r.Dispatch(t.Context(), numbered(cbid.Make(2, 2), 0), FullDefault)
	require.ErrorIs(t, err, ErrNoID)
	require.ErrorIs(t, err, syscall.ENODEV)
	assert.ErrorContains(t, err, "2:2")
}

func TestDispatchDoesNotAllocate(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	n := 0
	mustAdd(t, r, cbid.Make(1, 2), HandlerFunc(func(context.Context, *Delivery) { n++ }))
	data := make([]byte, 128)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		d := Delivery{Msg: Message{ID: cbid.Make(1, 2), Data: data}} // stays on the stack
		if r.Dispatch(t.Context(), &d, FullDefault) != nil {
			t.Error("not delivered")
		}
	}))
	assert.Equal(t, 101, n)
}

// From its own callback a message goes to the mailbox and is handled in order
// before Dispatch returns.
func TestDispatchFromOwnCallback(t *testing.T) {
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 3})
	var got []uint32
	var full error
	id := cbid.Make(1, 2)
	data := []byte{1}
	mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, d *Delivery) {
		got = append(got, d.Msg.Seq)
		if d.Msg.Seq != 0 {
			assert.Equal(t, []byte{1}, d.Msg.Data, "the data were copied")
			return
		}
		for n := 1; n <= 3; n++ {
			m := numbered(id, n)
			m.Msg.Data = data
			assert.NoError(t, r.Dispatch(ctx, m, FullDefault))
		}
		data[0] = 2
		full = r.Dispatch(ctx, numbered(id, 4), FullWait)
	}))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 0), FullDefault))
	assert.Equal(t, []uint32{0, 1, 2, 3}, got)
	require.ErrorIs(t, full, ErrWouldBlock, "it would wait for itself")
}

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

// Many senders, ids and re-registrations at once: each sender's messages arrive in
// its order, callbacks of one id never overlap, and every accepted message is handled.
func TestSerialPerIDInOrder(t *testing.T) {
	const ids, senders, each = 3, 4, 2000
	r := NewRegistry(t.Context(), &RegistryConfig{Queue: 8})
	type seen struct {
		inside atomic.Int32
		last   [senders]uint32
		n      int
	}
	var state [ids]seen
	for i := range ids {
		s := &state[i]
		mustAdd(t, r, cbid.Make(uint32(i), 0), HandlerFunc(func(ctx context.Context, d *Delivery) {
			if s.inside.Add(1) != 1 {
				t.Error("two callbacks of one id at once")
			}
			if last := &s.last[d.From.Port]; *last+1 != d.Msg.Seq || string(d.Msg.Data) != fmt.Sprint(d.Msg.Seq) {
				t.Errorf("sender %d: %d %q after %d", d.From.Port, d.Msg.Seq, d.Msg.Data, *last)
			} else {
				*last = d.Msg.Seq
			}
			if s.n++; s.n%64 == 0 {
				runtime.Gosched() // let the others find it busy
			}
			s.inside.Add(-1)
		}))
	}
	var wg sync.WaitGroup
	for port := range senders {
		wg.Go(func() {
			for n := 1; n <= each; n++ {
				for i := range ids {
					d := numbered(cbid.Make(uint32(i), 0), n)
					d.From.Port = uint32(port)
					d.Msg.Data = fmt.Append(nil, n)
					if err := r.Dispatch(t.Context(), d, FullDefault); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, r.Close(t.Context()))
	for i := range state {
		assert.Equal(t, senders*each, state[i].n)
	}
}

// A callback that waits for one of another id shows that ids do not wait for each other.
func TestConcurrentBetweenIDs(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	other := make(chan struct{})
	mustAdd(t, r, cbid.Make(1, 1), HandlerFunc(func(context.Context, *Delivery) { <-other }))
	mustAdd(t, r, cbid.Make(1, 2), HandlerFunc(func(context.Context, *Delivery) { close(other) }))
	done := make(chan error)
	go func() { done <- r.Dispatch(t.Context(), numbered(cbid.Make(1, 1), 0), FullDefault) }()
	require.NoError(t, r.Dispatch(t.Context(), numbered(cbid.Make(1, 2), 0), FullDefault))
	require.NoError(t, <-done)
}

func TestDelDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(t.Context(), &RegistryConfig{Queue: 1})
		goOn := make(chan struct{})
		handled := 0
		var fromWithin error
		id := cbid.Make(1, 2)
		var e *Entry
		e = mustAdd(t, r, id, HandlerFunc(func(ctx context.Context, _ *Delivery) {
			fromWithin = r.Del(ctx, e)
			<-goOn
			handled++
		}))
		send := func() error { return r.Dispatch(t.Context(), numbered(id, 0), FullDefault) }
		results := make([]error, 3)
		var wg sync.WaitGroup
		for i := range results { // one runs, one is queued, one waits for room
			wg.Go(func() { results[i] = send() })
			synctest.Wait()
		}
		deleted := false
		wg.Go(func() {
			assert.NoError(t, r.Del(t.Context(), e))
			deleted = true
		})
		synctest.Wait()
		assert.False(t, deleted, "it waits for the callback")
		assert.Nil(t, r.Lookup(id))
		require.ErrorIs(t, fromWithin, ErrInvalid, "from the callback it would wait for itself")
		require.ErrorIs(t, results[2], ErrNoID, "who waits for room is refused")
		require.ErrorIs(t, send(), ErrNoID)
		require.ErrorIs(t, r.Del(t.Context(), e), ErrNoID)
		_, err := e.Enqueue(numbered(id, 0), nil)
		require.ErrorIs(t, err, ErrNoID)
		mustAdd(t, r, id, nothing) // the id is free
		require.NoError(t, send())

		close(goOn)
		wg.Wait()
		assert.True(t, deleted)
		assert.Equal(t, 2, handled, "what was accepted is handled")
		require.NoError(t, results[0])
		require.NoError(t, results[1])
	})
}

func TestDelWaitsUpToContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(t.Context(), nil)
		goOn := make(chan struct{})
		e := mustAdd(t, r, cbid.Proc, HandlerFunc(func(context.Context, *Delivery) { <-goOn }))
		go func() { assert.NoError(t, r.Dispatch(t.Context(), numbered(cbid.Proc, 0), FullDefault)) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, r.Del(ctx, e), context.Canceled)
		assert.Nil(t, r.Lookup(cbid.Proc))
		close(goOn)
		require.ErrorIs(t, r.Del(t.Context(), e), ErrNoID)
	})
}

func TestCloseDrainsAll(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	for i := range 100 {
		mustAdd(t, r, cbid.Make(uint32(i), 0), nothing)
	}
	require.NoError(t, r.Close(t.Context()))
	assert.Zero(t, r.Len())
	_, err := r.Add(IDInfo{ID: cbid.Proc}, nothing)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, r.Close(t.Context()))
}

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

func panicHere(v any) { panic(v) }

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
			assert.NoError(t, r.Dispatch(ctx, numbered(id, 0), FullDefault)) // one message begets the next
		}
	}))
	require.NoError(t, r.Dispatch(t.Context(), numbered(id, 0), FullDefault))
	close(stop)
	require.NoError(t, r.Del(t.Context(), e))
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

// The table against a map, with growth, gravestones and shrinking.
func TestTableAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		model := make(map[uint64]*Entry)
		key := rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Just(uint64(1<<64-1)), rapid.Custom(func(t *rapid.T) uint64 {
			return uint64(rapid.IntRange(0, 400).Draw(t, "idx")) << 32
		}))
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				if k := key.Draw(t, "key"); model[k] == nil {
					model[k] = new(Entry)
					tab.put(k, model[k])
				}
			},
			"put many": func(t *rapid.T) {
				from := rapid.Uint64Range(1000, 2000).Draw(t, "from")
				for k := from; k < from+300; k++ {
					if model[k] == nil {
						model[k] = new(Entry)
						tab.put(k, model[k])
					}
				}
			},
			"remove": func(t *rapid.T) {
				if k := key.Draw(t, "key"); model[k] != nil {
					delete(model, k)
					tab.remove(k)
				}
			},
			"remove many": func(t *rapid.T) {
				for k := range model {
					if k%3 != 0 {
						delete(model, k)
						tab.remove(k)
					}
				}
			},
			"": func(t *rapid.T) {
				k := key.Draw(t, "key")
				require.Same(t, model[k], tab.get(k))
				n := 0
				tab.all(func(e *Entry) bool { n++; return true })
				require.Equal(t, len(model), n)
				require.Equal(t, len(model), tab.live)
				if s := tab.current.Load(); s != nil {
					require.Less(t, tab.used, len(s.slot), "an empty slot ends every search")
				}
			},
		})
	})
}

func TestTenThousandIDs(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	const n = 10000
	entries := make([]*Entry, n)
	for i := range n {
		entries[i] = mustAdd(t, r, cbid.Make(uint32(i%7), uint32(i)), nothing)
	}
	longest := 0
	s := r.table.current.Load()
	for i := range n {
		key := cbid.Make(uint32(i%7), uint32(i)).Key()
		steps := 1
		for at := s.start(key); s.slot[at].key != key || s.slot[at].entry.Load() == nil; at = (at + 1) & uint64(len(s.slot)-1) {
			steps++
		}
		longest = max(longest, steps)
	}
	assert.Less(t, longest, 200, "no search is long")
	assert.LessOrEqual(t, len(s.slot), 4*n)
	for i, e := range entries {
		require.Same(t, e, r.Lookup(e.Info().ID))
		require.NoError(t, r.Del(t.Context(), e))
		require.Nil(t, r.Lookup(e.Info().ID))
		_ = i
	}
	assert.Zero(t, r.Len())
	assert.Len(t, r.table.current.Load().slot, minSlots, "the memory is given back")
}

// Readers see every id that is registered all the time, whatever is added and
// removed around it.
func TestLookupDuringChanges(t *testing.T) {
	r := NewRegistry(t.Context(), nil)
	stay := mustAdd(t, r, cbid.Make(1, 1), nothing)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r.Lookup(cbid.Make(1, 1)) != stay {
				t.Error("an id was not found")
				return
			}
			if err := r.Dispatch(t.Context(), numbered(cbid.Make(2, 5), 0), FullDefault); err != nil {
				assert.ErrorIs(t, err, ErrNoID)
			}
		}
	})
	for round := range 50 {
		var added []*Entry
		for i := range 100 {
			added = append(added, mustAdd(t, r, cbid.Make(2, uint32(i+round)), nothing))
		}
		for _, e := range added {
			require.NoError(t, r.Del(t.Context(), e))
		}
	}
	close(stop)
	wg.Wait()
}
