package bustest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// env is what a test has: its bus, a context that ends when patience does, and
// the handles to close.
type env struct {
	*testing.T
	carrier *Carrier
	site    Site
	ctx     context.Context

	mu    sync.Mutex // guards buses
	buses []connector.Bus

	cancel context.CancelFunc // of ctx
	wg     sync.WaitGroup     // of spawn
	loops  sync.WaitGroup     // of goroutines that end when their bus closes
}

// end waits for what the test has begun, closes its buses, and waits for what
// that ends.
func (e *env) end() {
	if e.Failed() {
		e.cancel() // what did not come will not come
	}
	e.wg.Wait()
	for _, b := range e.buses {
		if err := b.Close(); err != nil {
			e.Errorf("close: %v", err)
		}
	}
	e.loops.Wait()
	if e.site != nil {
		e.site.Close()
	}
}

// spawn runs f, which ends by itself and which the test's end waits for.
func (e *env) spawn(f func()) <-chan struct{} {
	done := make(chan struct{})
	e.wg.Go(func() {
		defer close(done)
		f()
	})
	return done
}

func (e *env) bus() connector.Bus {
	e.Helper()
	b := e.site.Bus(e.T, BusOptions{Name: "bustest"})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.buses = append(e.buses, b)
	return b
}

// endpoint opens an endpoint of b, or of a process of its own.
func (e *env) endpoint(b ...connector.Bus) connector.Endpoint {
	e.Helper()
	if len(b) == 0 {
		b = append(b, e.bus())
	}
	ep, err := b[0].Endpoint(e.ctx)
	require.NoError(e, err)
	return ep
}

// member opens an endpoint that has joined the groups.
func (e *env) member(groups ...uint32) connector.Endpoint {
	e.Helper()
	ep := e.endpoint()
	for _, g := range groups {
		require.NoError(e, ep.Join(e.ctx, g))
	}
	return ep
}

// reader opens a member of group that reads and forgets everything, so that the
// group has a listener that harms nobody.
func (e *env) reader(group uint32) {
	e.Helper()
	ep := e.member(group)
	e.loops.Go(func() {
		for {
			if _, err := ep.Recv(e.ctx); err != nil {
				return // the test's end closes it
			}
		}
	})
}

// short is a context that ends soon, for what must not happen, or must wait.
func (e *env) short() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.ctx, 30*time.Millisecond)
}

// quiet checks that ep gets nothing for a little, which is also time for others
// to do what they must not.
func (e *env) quiet(ep connector.Endpoint) {
	e.Helper()
	ctx, cancel := e.short()
	defer cancel()
	ev, err := ep.Recv(ctx)
	require.ErrorIs(e, err, context.DeadlineExceeded, "%v %v", ev.Kind, ev.Msg.ID)
}

// await waits for c.
func (e *env) await(c <-chan struct{}, what string) {
	e.Helper()
	select {
	case <-c:
	case <-e.ctx.Done():
		require.FailNow(e, "nothing came", what)
	}
}

// get receives from c.
func get[T any](e *env, c <-chan T, what string) T {
	e.Helper()
	select {
	case v := <-c:
		return v
	case <-e.ctx.Done():
		require.FailNow(e, "nothing came", what)
		panic("unreachable")
	}
}

// eventually repeats f, which asks the bus, until it is true. It is for what another process
// brings about without telling us.
func (e *env) eventually(what string, f func() bool) {
	e.Helper()
	for !f() {
		if e.ctx.Err() != nil {
			require.FailNow(e, "never came about", what)
		}
		runtime.Gosched()
	}
}

// recv returns the next event of ep, with data that stay.
func (e *env) recv(ep connector.Endpoint) connector.Event {
	e.Helper()
	ev, err := ep.Recv(e.ctx)
	require.NoError(e, err, "recv")
	ev.Msg = ev.Msg.Clone()
	return ev
}

// message returns the next event of ep, which must be a message.
func (e *env) message(ep connector.Endpoint) connector.Event {
	e.Helper()
	ev := e.recv(ep)
	require.Equal(e, connector.EventMessage, ev.Kind, "an event %v (lost %d, err %v) instead of a message", ev.Kind, ev.Lost, ev.Err)
	return ev
}

// nothingFor checks that nothing is in ep's queue: the next message is one sent now.
func (e *env) nothingFor(ep connector.Endpoint) {
	e.Helper()
	const mark = 0x6d61726b
	from := e.endpoint()
	m := connector.Message{ID: cbid.Make(mark, mark), Seq: mark}
	require.NoError(e, from.Send(e.ctx, m, connector.Dest{Port: ep.Port()}))
	ev := e.message(ep)
	require.Equal(e, m.ID, ev.Msg.ID, "something came that should not")
	require.NoError(e, from.Close())
}

// register adds f under id on b.
func (e *env) register(b connector.Bus, id cbid.ID, f connector.HandlerFunc) {
	e.Helper()
	require.NoError(e, b.AddCallback(e.ctx, id, "bustest", f))
}

// echo replies with the request's data. The caller may be gone.
func (e *env) echo(ctx context.Context, d *connector.Delivery) {
	err := d.Reply(ctx, d.Msg.Data)
	if err != nil && !errors.Is(err, connector.ErrClosed) && !errors.Is(err, connector.ErrNoPort) && ctx.Err() == nil {
		e.Errorf("reply: %v", err)
	}
}

// is checks, in any goroutine, that err wraps each of targets.
func (e *env) is(err error, targets ...error) {
	e.Helper()
	for _, t := range targets {
		assert.ErrorIs(e, err, t)
	}
}

// group and id are numbers that every carrier accepts and nobody uses.
func group(i int) uint32 { return 12 + uint32(i) }

func id(i int, val ...int) cbid.ID {
	v := 1
	if len(val) > 0 {
		v = val[0]
	}
	return cbid.Make(group(i), uint32(v))
}

func to(port uint32) connector.Dest       { return connector.Dest{Port: port} }
func toGroup(group uint32) connector.Dest { return connector.Dest{Group: group} }

var toID connector.Dest

// text is a message for id.
func text(id cbid.ID, s string) connector.Message {
	return connector.Message{ID: id, Data: []byte(s)}
}

// numbered is message n of a sender, size bytes of data (at least 12) that repeat the number.
func numbered(id cbid.ID, sender, n, size int) connector.Message {
	d := make([]byte, max(size, 12))
	binary.LittleEndian.PutUint32(d, uint32(sender))
	binary.LittleEndian.PutUint64(d[4:], uint64(n))
	for i := 12; i < len(d); i++ {
		d[i] = byte(n)
	}
	return connector.Message{ID: id, Seq: uint32(n), Data: d}
}

// number undoes numbered, and checks that the data are whole.
func number(m connector.Message) (sender, n int, err error) {
	if len(m.Data) < 12 {
		return 0, 0, fmt.Errorf("%d bytes of data", len(m.Data))
	}
	sender, n = int(binary.LittleEndian.Uint32(m.Data)), int(binary.LittleEndian.Uint64(m.Data[4:]))
	for i, b := range m.Data[12:] {
		if b != byte(n) {
			return sender, n, fmt.Errorf("byte %d of message %d is %#x", 12+i, n, b)
		}
	}
	return sender, n, nil
}

// log collects what a callback is given.
type log struct {
	mu   sync.Mutex // guards what follows
	got  []connector.Delivery
	more chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1)} }

func (l *log) Handle(_ context.Context, d *connector.Delivery) {
	l.mu.Lock()
	l.got = append(l.got, *d.Detach())
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// await returns the first n deliveries.
func (l *log) await(e *env, n int) []connector.Delivery {
	e.Helper()
	for {
		l.mu.Lock()
		got := l.got
		l.mu.Unlock()
		if len(got) >= n {
			return got
		}
		get(e, l.more, fmt.Sprintf("callback %d of %d", len(got)+1, n))
	}
}
