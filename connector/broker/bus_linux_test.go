package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/client"
)

// inside is a broker whose users are in its own process.
type inside struct {
	*broker.Broker
	stop func()
}

func serve(t testing.TB, cfg broker.Config) *inside {
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg.Socket = filepath.Join(dir, "s")
	cfg.HistoryDir, cfg.Drain, cfg.Log = "-", time.Second, slog.New(slog.DiscardHandler)
	b, err := broker.New(&cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx) }()
	return &inside{b, func() {
		cancel()
		assert.NoError(t, <-done)
	}}
}

func (s *inside) Bus(t testing.TB, opt bustest.BusOptions) connector.Bus {
	b, err := s.Broker.Bus(context.Background(), opt.Name)
	require.NoError(t, err)
	return b
}

func (s *inside) Close() { s.stop() }

// TestBus: without sockets everything is as it is with them.
func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Carrier{Name: "in the broker", Caps: bustest.All(), New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		var cfg broker.Config
		if opt.Small {
			cfg.QueueBytes = 64 << 10
		}
		l := opt.Limits
		text := "[[rule]]\nuid = [\"*\"]\nregister = [\"*\"]\nsend = [\"*\"]\njoin = [\"*\"]\npublish = [\"*\"]\nunicast = true\n[[limit]]\n"
		for name, n := range map[string]int{
			"registrations": l.Callbacks, "connections": l.Endpoints, "memberships": l.Memberships,
			"watches": max(l.Watches, l.Notifies), "follows": l.Follows,
		} {
			if n > 0 {
				text += fmt.Sprintf("%s = %d\n", name, n)
			}
		}
		var err error
		cfg.Policy, err = broker.ParsePolicy(text)
		require.NoError(t, err)
		return serve(t, cfg)
	}})
}

var (
	echoID  = cbid.Make(0x300, 1)
	otherID = cbid.Make(0x300, 2)
	dest    connector.Dest
)

// user is a client on the broker's socket, as another process would be.
func (s *inside) user(t testing.TB) connector.Endpoint {
	b, err := client.Dial(context.Background(), &client.Config{Socket: s.Path(), Logger: slog.New(slog.DiscardHandler), DialTimeout: 2 * time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	e, err := b.Endpoint(context.Background())
	require.NoError(t, err)
	return e
}

func newInside(t testing.TB) (*inside, connector.Bus) {
	s := serve(t, broker.Config{})
	t.Cleanup(s.stop)
	b := s.Bus(t, bustest.BusOptions{Name: "inside"})
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return s, b
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func call(t testing.TB, e connector.Endpoint, id cbid.ID, text string) string {
	t.Helper()
	ev, err := e.Call(within(t), connector.Message{ID: id, Data: []byte(text)}, dest)
	require.NoError(t, err)
	return string(ev.Msg.Data)
}

func echo(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) }

func TestACallbackOnTheLoopAnswers(t *testing.T) {
	s, b := newInside(t)
	ctx := within(t)
	var from connector.From
	require.NoError(t, b.AddCallback(ctx, echoID, "echo", connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		from = d.From
		echo(ctx, d)
	}))))
	e := s.user(t)
	for i := range 100 {
		text := fmt.Sprint(i)
		require.Equal(t, text, call(t, e, echoID, text))
	}
	assert.Equal(t, e.Port(), from.Port)
	require.NoError(t, e.Send(ctx, connector.Message{ID: echoID}, dest), "acknowledged when it has run")
	err := b.AddCallback(ctx, echoID, "again", connector.Inline(connector.HandlerFunc(echo)))
	require.ErrorIs(t, err, connector.ErrDuplicate)
	require.Equal(t, "still there", call(t, e, echoID, "still there"))
	require.NoError(t, b.DelCallback(ctx, echoID))
	_, err = e.Call(ctx, connector.Message{ID: echoID}, dest)
	require.ErrorIs(t, err, connector.ErrNoID)
	require.NoError(t, b.AddCallback(ctx, echoID, "not on the loop", connector.HandlerFunc(echo)))
	require.Equal(t, "back", call(t, e, echoID, "back"))
	require.ErrorIs(t, b.AddCallback(ctx, echoID, "again", connector.Inline(connector.HandlerFunc(echo))), connector.ErrDuplicate)
	require.Equal(t, "unharmed", call(t, e, echoID, "unharmed"))
}

func TestACallbackOnTheLoopMayAnswerLater(t *testing.T) {
	s, b := newInside(t)
	later := make(chan *connector.Delivery, 1000)
	require.NoError(t, b.AddCallback(within(t), echoID, "later", connector.Inline(connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
		later <- d.Detach()
	}))))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range later {
			echo(context.Background(), d)
		}
	}()
	e := s.user(t)
	for range 50 {
		require.Equal(t, "x", call(t, e, echoID, "x"))
	}
	close(later)
	<-done
}

func TestACallbackOnTheLoopPostsAndDoesNotWait(t *testing.T) {
	s, b := newInside(t)
	ctx := within(t)
	member := s.user(t)
	require.NoError(t, member.Join(ctx, otherID.Idx))
	post := connector.Post
	var errs []error
	require.NoError(t, b.AddCallback(ctx, otherID, "other", connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		data := append([]byte("published: "), d.Msg.Data...)
		errs = append(errs,
			post(ctx, b, connector.Message{ID: otherID, Data: data}, dest),
			post(ctx, b, connector.Message{ID: otherID, Data: data}, connector.Dest{Port: d.From.Port}),
			post(ctx, b, connector.Message{ID: otherID}, connector.Dest{Port: 1, Group: 2}),
			b.Send(ctx, connector.Message{ID: otherID}, dest),
			b.AddCallback(ctx, echoID, "x", connector.HandlerFunc(echo)),
			b.DelCallback(ctx, otherID),
			connector.SetHistory(ctx, b, otherID.Idx, connector.History{Messages: 1}))
		_, err := connector.FollowPort(ctx, b, d.From.Port, func() {})
		errs = append(errs, err)
		_, err = connector.Watch(ctx, b, nil)
		errs = append(errs, err)
		_, err = b.Endpoint(ctx)
		errs = append(errs, err)
		echo(ctx, d)
	}))))
	e := s.user(t)
	require.Equal(t, "news", call(t, e, otherID, "news"))
	require.NoError(t, errs[0])
	require.NoError(t, errs[1])
	for _, err := range errs[2:] {
		require.ErrorIs(t, err, connector.ErrInvalid)
	}
	for _, ep := range []connector.Endpoint{e, member} {
		ev, err := ep.Recv(ctx)
		require.NoError(t, err)
		assert.Equal(t, "published: news", string(ev.Msg.Data))
	}

	// One who does not read: what would have to wait is refused.
	refused := make(chan error, 1)
	stuck := s.user(t)
	require.NoError(t, b.AddCallback(ctx, echoID, "flood", connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		err := post(ctx, b, connector.Message{ID: echoID, Data: make([]byte, 16000)}, connector.Dest{Port: stuck.Port()})
		if err != nil {
			select {
			case refused <- err:
			default:
			}
		}
		echo(ctx, d)
	}))))
	var err error
	for err == nil {
		require.Equal(t, "x", call(t, e, echoID, "x"), "the broker does not wait")
		select {
		case err = <-refused:
		default:
		}
	}
	require.ErrorIs(t, err, connector.ErrWouldBlock)
}

func TestAPanicOnTheLoopIsContained(t *testing.T) {
	s, b := newInside(t)
	require.NoError(t, b.AddCallback(within(t), echoID, "panic", connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if len(d.Msg.Data) == 0 {
			panic("of a callback")
		}
		echo(ctx, d)
	}))))
	e := s.user(t)
	require.NoError(t, e.Send(within(t), connector.Message{ID: echoID}, dest))
	require.Equal(t, "x", call(t, e, echoID, "x"))
}

func TestABusInTheBrokerEndsWithIt(t *testing.T) {
	s := serve(t, broker.Config{})
	b := s.Bus(t, bustest.BusOptions{Name: "inside"})
	e, err := b.Endpoint(within(t))
	require.NoError(t, err)
	require.NoError(t, b.AddCallback(within(t), echoID, "echo", connector.Inline(connector.HandlerFunc(echo))))
	s.stop()
	ev, err := e.Recv(within(t))
	for err == nil {
		require.Equal(t, connector.EventDown, ev.Kind)
		ev, err = e.Recv(within(t))
	}
	require.ErrorIs(t, err, connector.ErrInterrupted)
	require.Error(t, b.AddCallback(within(t), otherID, "x", connector.HandlerFunc(echo)))
	require.NoError(t, b.Close())
	_, err = s.Broker.Bus(within(t), "late")
	require.ErrorIs(t, err, connector.ErrClosed)
}

type interested struct {
	connector.HandlerFunc
	told chan bool
}

func (i *interested) Interest(_ context.Context, _ uint32, listening bool) { i.told <- listening }

func TestACallbackOnTheLoopIsToldOfInterest(t *testing.T) {
	s, b := newInside(t)
	i := &interested{echo, make(chan bool, 10)}
	require.NoError(t, b.AddCallback(within(t), echoID, "echo", connector.Inline(i)))
	assert.False(t, <-i.told)
	e := s.user(t)
	require.NoError(t, e.Join(within(t), echoID.Idx))
	assert.True(t, <-i.told)
	require.NoError(t, e.Leave(within(t), echoID.Idx))
	assert.False(t, <-i.told)
	assert.Empty(t, i.told)
}

// BenchmarkCall is a call from a client on the socket to an id of the broker's process.
func BenchmarkCall(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	for _, way := range []string{"socketpair", "bus", "loop"} {
		b.Run(way, func(b *testing.B) {
			s := serve(b, broker.Config{})
			b.Cleanup(s.stop)
			h := connector.Handler(connector.HandlerFunc(echo))
			var bus connector.Bus
			var err error
			if way == "socketpair" {
				bus, err = client.Dial(b.Context(), &client.Config{Conn: s.Conn, Logger: quiet})
			} else {
				bus, err = s.Broker.Bus(b.Context(), "bench")
			}
			require.NoError(b, err)
			b.Cleanup(func() { bus.Close() })
			if way == "loop" {
				h = connector.Inline(h)
			}
			require.NoError(b, bus.AddCallback(b.Context(), echoID, "echo", h))
			e := s.user(b)
			ctx := context.Background()
			m := connector.Message{ID: echoID, Data: make([]byte, 64)}
			b.ResetTimer()
			for b.Loop() {
				if _, err := e.Call(ctx, m, dest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPost publishes from the broker's process to one member on the socket.
func BenchmarkPost(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	for _, way := range []string{"socketpair", "bus"} {
		b.Run(way, func(b *testing.B) {
			s := serve(b, broker.Config{})
			b.Cleanup(s.stop)
			var bus connector.Bus
			var err error
			if way == "socketpair" {
				bus, err = client.Dial(b.Context(), &client.Config{Conn: s.Conn, Logger: quiet})
			} else {
				bus, err = s.Broker.Bus(b.Context(), "bench")
			}
			require.NoError(b, err)
			b.Cleanup(func() { bus.Close() })
			e := s.user(b)
			require.NoError(b, e.Join(b.Context(), 9))
			done := make(chan int)
			ctx := context.Background()
			n := 0
			go func() {
				defer close(done)
				for {
					ev, err := e.Recv(ctx)
					if err != nil || ev.Msg.Seq == 1 {
						return
					}
				}
			}()
			m := connector.Message{ID: echoID, Data: make([]byte, 128)}
			to := connector.Dest{Group: 9, Full: connector.FullWait}
			b.ResetTimer()
			for b.Loop() {
				if err := connector.Post(ctx, bus, m, to); err != nil {
					b.Fatal(err)
				}
				n++
			}
			m.Seq = 1
			require.NoError(b, bus.Send(ctx, m, to))
			<-done
		})
	}
}

// TestCopiesAnsweredOnTheLoop: a callback on the loop that answers copies of what has come before, with more than waits for the loop elsewhere,
// does not wait for it.
func TestCopiesAnsweredOnTheLoop(t *testing.T) {
	const copies = 24
	s, b := newInside(t)
	var waiting []*connector.Delivery
	answer := make([]byte, connector.MaxData)
	require.NoError(t, b.AddCallback(within(t), echoID, "late", connector.Inline(connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if waiting = append(waiting, d.Detach()); len(waiting) < copies {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute) // or the loop would wait for ever
		defer cancel()
		for _, w := range waiting {
			assert.NoError(t, w.Reply(ctx, answer))
		}
	}))))
	e := s.user(t)
	answered := make(chan error, copies)
	ctx := within(t)
	for range copies {
		go func() {
			_, err := e.Call(ctx, connector.Message{ID: echoID}, dest)
			answered <- err
		}()
	}
	for range copies {
		require.NoError(t, <-answered)
	}
}

// TestRun: what is run on the loop posts straight to its receiver, and must not wait for the broker.
func TestRun(t *testing.T) {
	s, b := newInside(t)
	u := s.user(t)
	to := connector.Dest{Port: u.Port()}
	refused := make(chan error, 1)
	require.True(t, b.(connector.Runner).Run(func() {
		assert.NoError(t, b.(connector.Poster).Post(context.Background(), connector.Message{ID: echoID, Data: []byte("hello")}, to))
		refused <- b.Send(context.Background(), connector.Message{ID: echoID}, to)
	}))
	ev, err := u.Recv(within(t))
	require.NoError(t, err)
	assert.Equal(t, "hello", string(ev.Msg.Data))
	assert.ErrorIs(t, <-refused, connector.ErrInvalid)
}

// TestStopOnTheLoop: what is posted on the loop ends with the first message that its receiver has no room for, so that what others of the
// process post before they know of Stop does not end the reading of all of them.
func TestStopOnTheLoop(t *testing.T) {
	s, inside := newInside(t)
	b := inside.(*broker.Bus)
	u := s.user(t)
	to := connector.Dest{Port: u.Port()}
	ctx := within(t)
	post := func(n uint32) error {
		return b.Post(ctx, connector.Message{ID: echoID, Seq: n, Data: make([]byte, 8<<10)}, to)
	}
	type result struct {
		n       uint32
		err     error
		outside error
	}
	done := make(chan result, 1)
	require.True(t, b.Run(func() {
		var r result
		for r.n < 10000 && r.err == nil {
			if r.err = post(r.n); r.err == nil {
				r.n++
			}
		}
		outside := make(chan error)
		go func() { outside <- post(r.n) }() // it cannot know of Stop, which leaves with this turn
		r.outside = <-outside
		done <- r
	}))
	r := <-done
	require.ErrorIs(t, r.err, connector.ErrWouldBlock)
	require.NoError(t, r.outside)
	require.NoError(t, b.Ping(ctx), "it is read")
	for n := range r.n + 1 {
		ev, err := u.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, connector.EventMessage, ev.Kind)
		require.Equal(t, n, ev.Msg.Seq)
	}
	require.NoError(t, post(0), "Go has come")
}

// TestPostHere: what is posted where Run's functions run goes as Post has it, and is refused where it would have to wait.
func TestPostHere(t *testing.T) {
	s, inside := newInside(t)
	b := inside.(*broker.Bus)
	u := s.user(t)
	ctx := within(t)
	errs := make(chan error, 1)
	var n uint32
	require.True(t, b.Run(func() {
		if !b.Loop().Inside() {
			errs <- connector.ErrInvalid
			return
		}
		for ; ; n++ {
			if err := b.PostHere(connector.Message{ID: echoID, Seq: n, Data: make([]byte, 8<<10)}, connector.Dest{Port: u.Port()}); err != nil {
				errs <- err
				return
			}
		}
	}))
	require.ErrorIs(t, <-errs, connector.ErrWouldBlock)
	for i := range n {
		ev, err := u.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, i, ev.Msg.Seq)
	}
	require.ErrorIs(t, b.PostHere(connector.Message{ID: echoID, Data: make([]byte, connector.MaxData+1)}, connector.Dest{}), connector.ErrTooBig)
	require.ErrorIs(t, b.PostHere(connector.Message{ID: echoID}, connector.Dest{Port: 1, Group: 1}), connector.ErrInvalid)
}

// TestRunAtTheEnd: what is run when the loop has ended must not wait for it.
func TestRunAtTheEnd(t *testing.T) {
	const many = 200 // more than a loop runs in a turn
	s := serve(t, broker.Config{})
	b := s.Bus(t, bustest.BusOptions{Name: "inside"}).(*broker.Bus)
	to := connector.Dest{Port: s.user(t).Port()}
	last := make(chan error, many)
	var again func()
	again = func() {
		if !b.Run(again) {
			last <- b.PostMore(context.Background(), connector.Message{ID: echoID}, to)
		}
	}
	for range many {
		require.True(t, b.Run(again))
	}
	s.stop()
	for range many {
		require.ErrorIs(t, <-last, connector.ErrClosed)
	}
	require.NoError(t, b.Close())
}
