package procevent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// bench is an agent on a loopback bus with a kernel of a few lines below and a
// /proc of a few files.
type bench struct {
	*testing.T
	k     *fakeKernel
	hub   *loopback.Hub
	bus   *loopback.Bus
	agent *Agent
	root  string
	buses []*loopback.Bus
}

// onBench runs f in a synctest bubble.
func onBench(t *testing.T, cfg AgentConfig, f func(t *testing.T, b *bench)) {
	t.Helper()
	root := t.TempDir()
	runtime.GC() // two of them empty pools: channels of another bubble must not be met in this one
	runtime.GC()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, k: &fakeKernel{}, hub: loopback.New(nil), root: root}
		b.bus = b.hub.Open()
		cfg.root = root
		if cfg.dial == nil {
			cfg.dial = b.k.dial
		}
		cfg.Logger = slog.New(slog.DiscardHandler)
		var err error
		b.agent, err = NewAgent(t.Context(), b.bus, &cfg)
		require.NoError(t, err)
		f(t, b)
		for _, bus := range b.buses {
			require.NoError(t, bus.Close())
		}
		require.NoError(t, b.agent.Close())
		require.NoError(t, b.bus.Close())
		assert.Zero(t, b.k.count(), "the kernel's count of listeners")
	})
}

// proc makes a process in the bench's /proc.
func (b *bench) proc(tgid, parent, uid uint32, cgroup string) {
	dir := filepath.Join(b.root, fmt.Sprint(tgid))
	require.NoError(b, os.MkdirAll(dir, 0o755))
	stat := fmt.Sprintf("%d (a) name) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 1 0 0\n", tgid, parent)
	status := fmt.Sprintf("Name:\tx\nUid:\t%d\t0\t0\t0\nGid:\t%d\t0\t0\t0\n", uid, uid)
	for name, text := range map[string]string{"stat": stat, "status": status, "cgroup": "1:cpu:/old\n0::" + cgroup + "\n"} {
		require.NoError(b, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

func (b *bench) endpoint() connector.Endpoint {
	bus := b.hub.Open()
	b.buses = append(b.buses, bus)
	ep, err := bus.Endpoint(b.Context())
	require.NoError(b, err)
	return ep
}

func (b *bench) subscribe(f Filter) *Subscription {
	b.Helper()
	s, err := Subscribe(b.Context(), b.endpoint(), f)
	require.NoError(b, err)
	b.Cleanup(s.Release)
	return s
}

// expect checks that exactly these processes' events come, by their pids.
func (b *bench) expect(s *Subscription, pids ...uint32) {
	b.Helper()
	for _, pid := range pids {
		e := next(b, s)
		assert.Equal(b, pid, e.Pid, "%v", e)
	}
	b.nothing(s)
}

func (b *bench) nothing(s *Subscription) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Second)
	defer cancel()
	e, err := s.Recv(ctx)
	assert.ErrorIs(b, err, context.DeadlineExceeded, "%v", e)
}

func fork(parent, child uint32) Event {
	return Event{Kind: Fork, ParentPid: parent, ParentTgid: parent, Pid: child, Tgid: child}
}

func exit(pid uint32) Event { return Event{Kind: Exit, Pid: pid, Tgid: pid, ExitCode: 0x100} }

// The kernel is subscribed to once, and only while somebody listens.
func TestAgentSharesOneSubscription(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		assert.Zero(t, b.k.count())
		one, two := b.subscribe(Filter{}), b.subscribe(Filter{})
		assert.Equal(t, 1, b.k.count())
		assert.Len(t, b.k.socks, 1)
		for pid := range uint32(50) {
			b.k.emit(pid%2, exec1(pid))
		}
		for _, s := range []*Subscription{one, two} {
			for pid := range uint32(50) {
				e := next(t, s)
				assert.Equal(t, pid, e.Pid)
				assert.Equal(t, pid%2, e.CPU)
			}
		}
		require.NoError(t, one.ep.Close())
		synctest.Wait()
		assert.True(t, b.agent.Stats().Active)
		require.NoError(t, two.ep.Close())
		synctest.Wait()
		assert.False(t, b.agent.Stats().Active)
		assert.Zero(t, b.k.count())
		again := b.subscribe(Filter{})
		b.k.emit(0, exec1(7))
		b.expect(again, 7)
	})
}

// A program written for the kernel works with the agent: same bytes, same answers.
func TestAgentSpeaksTheKernelsProtocol(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		ep := b.endpoint()
		require.NoError(t, ep.Join(t.Context(), Group))
		ask := func(data []byte) (errno uint32) {
			r, err := ep.Call(t.Context(), connector.Message{ID: ID, Data: data}, connector.Dest{})
			require.NoError(t, err)
			require.Len(t, r.Msg.Data, Size)
			ack, err := Parse(r.Msg.Data, native)
			require.NoError(t, err)
			assert.Equal(t, Ack, ack.Kind)
			return ack.Err
		}
		assert.Zero(t, ask(native.AppendUint32(nil, opListen)))
		assert.Zero(t, ask(native.AppendUint32(native.AppendUint32(nil, opListen), uint32(Exec))))
		assert.EqualValues(t, syscall.EINVAL, ask(native.AppendUint32(nil, 3)))
		assert.EqualValues(t, syscall.EINVAL, ask([]byte{1, 2}))
		assert.EqualValues(t, syscall.EINVAL, ask(native.AppendUint32(nil, opSubscribe)))
		want := one()["coredump"]
		b.k.emit(1, want)
		ev, err := ep.Recv(t.Context())
		require.NoError(t, err)
		assert.Equal(t, ID, ev.Msg.ID)
		assert.EqualValues(t, Group, ev.From.Group)
		assert.Equal(t, b.k.seq[1]-1, ev.Msg.Seq, "the CPU's counter")
		want.CPU = 1
		data, err := want.Append(nil, native)
		require.NoError(t, err)
		assert.Equal(t, data, ev.Msg.Data)
		assert.Zero(t, ask(native.AppendUint32(nil, opIgnore)))
		assert.EqualValues(t, 3, b.agent.Stats().Refused)
	})
}

func TestAgentFiltersByKind(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		s := b.subscribe(Filter{Kinds: MaskOf(Exec, NonzeroExit)})
		same := b.subscribe(Filter{Kinds: MaskOf(NonzeroExit, Exec)})
		other := b.subscribe(Filter{Kinds: MaskOf(Fork)})
		assert.Equal(t, s.Group(), same.Group(), "equal filters share a group")
		assert.GreaterOrEqual(t, s.Group(), uint32(FirstFilterGroup))
		assert.NotEqual(t, s.Group(), other.Group())
		b.k.emit(0, fork(1, 2))
		b.k.emit(0, exec1(2))
		b.k.emit(0, Event{Kind: Exit, Pid: 8, Tgid: 8})
		b.k.emit(0, exit(2))
		b.expect(s, 2, 2)
		b.expect(same, 2, 2)
		b.expect(other, 2)
		assert.Equal(t, 2, b.agent.Stats().Filters)
	})
}

// Users are known from /proc for what was there before, and by inheritance for the rest.
func TestAgentFiltersByUser(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		b.proc(100, 1, 1000, "/u")
		b.proc(200, 1, 0, "/s")
		s := b.subscribe(Filter{UIDs: []uint32{1000, 1001}})
		b.k.emit(0, exec1(100))
		b.k.emit(0, exec1(200))
		b.k.emit(0, fork(100, 101)) // not in /proc any more: known by its parent
		b.k.emit(0, fork(200, 201))
		b.k.emit(0, exec1(101))
		b.k.emit(0, exec1(201))
		b.k.emit(0, Event{Kind: UID, Pid: 201, Tgid: 201, RealID: 1001})
		b.k.emit(0, exec1(201))
		b.k.emit(0, exit(101))
		b.k.emit(0, exit(201))
		b.expect(s, 100, 101, 101, 201, 201, 101, 201)
		assert.Zero(t, b.agent.Stats().Unresolved)
		b.k.emit(0, exit(300)) // gone before anything was known of it
		e := next(t, s)
		assert.Equal(t, Event{Kind: Lost, Count: 1}, e, "never silently")
		assert.EqualValues(t, 1, b.agent.Stats().Unresolved)
	})
}

// A process that is put into a cgroup before its exec is looked at again then.
func TestAgentFiltersByCgroup(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		b.proc(100, 1, 0, "/system.slice/a.service")
		s := b.subscribe(Filter{Cgroups: []string{"/system.slice/b.service"}})
		b.k.emit(0, fork(100, 101))
		synctest.Wait()
		b.nothing(s)
		b.proc(101, 100, 0, "/system.slice/b.service/sub")
		b.k.emit(0, exec1(101))
		b.k.emit(0, fork(101, 102))
		b.k.emit(0, fork(100, 103))
		b.expect(s, 101, 102)
	})
}

// A tree has the descendants that were there and those to come, whoever dies in between.
func TestAgentFiltersByTree(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		b.proc(1, 0, 0, "/")
		b.proc(100, 1, 0, "/")
		b.proc(110, 100, 0, "/")
		b.proc(120, 110, 0, "/")
		b.proc(200, 1, 0, "/")
		s := b.subscribe(Filter{Trees: []uint32{110}})
		b.k.emit(0, exec1(100))
		b.k.emit(0, exec1(110))
		b.k.emit(0, exec1(120))
		b.k.emit(0, exec1(200))
		b.k.emit(0, fork(120, 130))
		b.k.emit(0, exit(120))
		b.k.emit(0, fork(130, 140)) // 130 belongs to 1 now, and still to the tree
		b.k.emit(0, exit(130))
		b.k.emit(0, fork(200, 130)) // the number again, of another process
		b.k.emit(0, exec1(130))
		b.expect(s, 110, 120, 130, 120, 140, 130)
	})
}

// The end of the first thread is not the end of the process.
func TestAgentKeepsAProcessUntilItsLastThread(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		b.proc(100, 1, 1000, "/")
		s := b.subscribe(Filter{UIDs: []uint32{1000}, Kinds: MaskOf(Exit)})
		b.k.emit(0, fork(100, 101))
		b.k.emit(0, Event{Kind: Fork, ParentPid: 101, ParentTgid: 101, Pid: 102, Tgid: 101})
		b.k.emit(0, exit(101))
		b.k.emit(0, Event{Kind: Exit, Pid: 102, Tgid: 101})
		b.expect(s, 101, 102)
		assert.Zero(t, b.agent.Stats().Unresolved)
	})
}

// A loss in the kernel reaches every subscriber in its place; a filter can only bound it.
func TestAgentTellsKernelLossInOrder(t *testing.T) {
	k := &fakeKernel{}
	cfg := AgentConfig{Client: Config{Queue: 1, Probe: -1, MaxReadBuffer: -1}}
	cfg.dial = func(ctx context.Context, c Config) (*Client, error) {
		full, err := c.withDefaults()
		if err != nil {
			return nil, err
		}
		return newClient(ctx, full, k.open(20))
	}
	onBench(t, cfg, func(t *testing.T, b *bench) {
		b.k = k
		all, execs := b.subscribe(Filter{}), b.subscribe(Filter{Kinds: MaskOf(Exec)})
		k.mu.Lock()
		for pid := range uint32(50) {
			k.send(0, exec1(pid), 0) // the reader gets no turn between them
		}
		k.mu.Unlock()
		for _, s := range []*Subscription{all, execs} {
			for pid := range uint32(20) {
				assert.Equal(t, pid, next(t, s).Pid)
			}
			assert.Equal(t, Event{Kind: Lost, Count: 30, Exact: s == all}, next(t, s))
			b.nothing(s)
		}
		k.emit(0, exec1(99))
		b.expect(all, 99)
		b.expect(execs, 99)
		assert.EqualValues(t, 30, b.agent.Stats().Lost)
	})
}

// After a loss nothing that was known of processes is trusted.
func TestAgentLearnsAnewAfterALoss(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		b.proc(100, 1, 1000, "/")
		s := b.subscribe(Filter{UIDs: []uint32{1000}})
		b.k.emit(0, exec1(100))
		b.expect(s, 100)
		b.proc(100, 1, 2000, "/") // another process, whose fork was among what was lost
		b.k.mu.Lock()
		b.k.seq[0] += 10
		b.k.mu.Unlock()
		b.k.emit(0, exec1(100))
		assert.Equal(t, Event{Kind: Lost, Count: 10}, next(t, s))
		b.nothing(s)
	})
}

// A subscriber that does not read loses for itself, and is told.
func TestAgentASlowSubscriberLosesAlone(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		slow, fast := b.subscribe(Filter{}), b.subscribe(Filter{})
		const n = 20000
		got := 0
		for pid := range uint32(n) {
			b.k.emit(0, exec1(pid))
			if pid%100 == 99 {
				for range 100 {
					require.NotEqual(t, Lost, next(t, fast).Kind)
					got++
				}
			}
		}
		assert.Equal(t, n, got)
		received, lost := 0, uint64(0)
		for received+int(lost) < n {
			if e := next(t, slow); e.Kind == Lost {
				assert.True(t, e.Exact)
				lost += e.Count
			} else {
				received++
			}
		}
		assert.NotZero(t, lost)
		assert.Equal(t, n, received+int(lost))
	})
}

// A filter goes when nobody has listened for the grace period, and not before.
func TestAgentDropsAFilterNobodyListensTo(t *testing.T) {
	onBench(t, AgentConfig{Grace: 10 * time.Second}, func(t *testing.T, b *bench) {
		ep := b.endpoint()
		f := Filter{Kinds: MaskOf(Exec)}
		r, err := ep.Call(t.Context(), connector.Message{ID: ID, Data: f.appendSubscribe(nil, 0, native)}, connector.Dest{})
		require.NoError(t, err)
		_, group, err := parseAnswer(r.Msg.Data, native)
		require.NoError(t, err)
		owner := func() bool {
			err := b.bus.AddCallback(t.Context(), cbid.Make(group, filterVal), "probe", connector.HandlerFunc(func(context.Context, *connector.Delivery) {}))
			if err == nil {
				require.NoError(t, b.bus.DelCallback(t.Context(), cbid.Make(group, filterVal)))
			}
			return errors.Is(err, connector.ErrDuplicate)
		}
		later(9 * time.Second)
		assert.True(t, owner())
		require.NoError(t, ep.Join(t.Context(), group))
		later(time.Minute)
		assert.True(t, owner(), "somebody listens")
		require.NoError(t, ep.Leave(t.Context(), group))
		later(9 * time.Second)
		assert.True(t, owner())
		later(2 * time.Second)
		assert.False(t, owner())
		assert.Zero(t, b.agent.Stats().Filters)
		s := b.subscribe(f)
		b.k.emit(0, exec1(3))
		b.expect(s, 3)
	})
}

func TestAgentLimits(t *testing.T) {
	onBench(t, AgentConfig{MaxFilters: 3, MaxUserFilters: 2}, func(t *testing.T, b *bench) {
		b.subscribe(Filter{Kinds: MaskOf(Exec)})
		b.subscribe(Filter{Kinds: MaskOf(Fork)})
		_, err := Subscribe(t.Context(), b.endpoint(), Filter{Kinds: MaskOf(Exit)})
		assert.ErrorIs(t, err, syscall.EDQUOT)
		b.subscribe(Filter{Kinds: MaskOf(Fork)}) // one that exists
	})
}

// The policy narrows a filter or refuses it. Who may not have all events gets, asking for all,
// what is allowed.
func TestAgentAuthorizes(t *testing.T) {
	cfg := AgentConfig{Authorize: func(who connector.Cred, f Filter) (Filter, error) {
		if len(f.Cgroups) > 0 {
			return f, errors.New("no cgroups here")
		}
		f.UIDs = []uint32{1000}
		return f, nil
	}}
	onBench(t, cfg, func(t *testing.T, b *bench) {
		b.proc(100, 1, 1000, "/")
		b.proc(200, 1, 0, "/")
		_, err := Subscribe(t.Context(), b.endpoint(), Filter{Cgroups: []string{"/"}})
		assert.ErrorIs(t, err, connector.ErrPermission)
		assert.ErrorIs(t, err, syscall.EPERM)
		s := b.subscribe(Filter{})
		b.k.emit(0, exec1(200))
		b.k.emit(0, exec1(100))
		b.expect(s, 100)
	})
}

// Only the agent's messages are events.
func TestSubscriptionRefusesForged(t *testing.T) {
	onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
		s := b.subscribe(Filter{})
		e := exec1(666)
		data, err := e.Append(nil, native)
		require.NoError(t, err)
		require.NoError(t, b.endpoint().Send(t.Context(), connector.Message{ID: ID, Data: data}, connector.Dest{Group: Group}))
		b.k.emit(0, exec1(1))
		b.expect(s, 1)
		assert.EqualValues(t, 1, s.Forged())
	})
}

// An agent that cannot subscribe says why, tries again, and its subscribers go on.
func TestAgentWithoutKernel(t *testing.T) {
	k := &fakeKernel{}
	var broken atomic.Bool
	broken.Store(true)
	cfg := AgentConfig{dial: func(ctx context.Context, c Config) (*Client, error) {
		if broken.Load() {
			return nil, fmt.Errorf("%w: %w", ErrNoKernel, connector.ErrNoPort)
		}
		return k.dial(ctx, c)
	}}
	onBench(t, cfg, func(t *testing.T, b *bench) {
		b.k = k
		_, err := Subscribe(t.Context(), b.endpoint(), Filter{})
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		broken.Store(false)
		later(2 * time.Minute)
		s := b.subscribe(Filter{})
		k.emit(0, exec1(4))
		b.expect(s, 4)
	})
}

// The end of an agent, and another's beginning, is noticed by a subscriber to whom nothing comes.
func TestSubscriptionSurvivesItsAgent(t *testing.T) {
	for _, f := range []Filter{{}, {Kinds: MaskOf(Exec)}} {
		t.Run(f.Kinds.String(), func(t *testing.T) {
			onBench(t, AgentConfig{}, func(t *testing.T, b *bench) {
				s := b.subscribe(f)
				require.NoError(t, b.agent.Close())
				require.NoError(t, b.bus.Close())
				_, err := s.Recv(t.Context())
				assert.ErrorIs(t, err, connector.ErrNoID)
				b.bus = b.hub.Open()
				b.agent, err = NewAgent(t.Context(), b.bus, &AgentConfig{dial: b.k.dial, root: b.root})
				require.NoError(t, err)
				assert.Equal(t, Event{Kind: Lost}, next(t, s))
				b.k.emit(0, exec1(5))
				b.expect(s, 5)
			})
		})
	}
}

func TestSubscribeWithoutAgent(t *testing.T) {
	hub := loopback.New(nil)
	bus := hub.Open()
	defer bus.Close()
	ep, err := bus.Endpoint(t.Context())
	require.NoError(t, err)
	_, err = Subscribe(t.Context(), ep, Filter{})
	assert.ErrorIs(t, err, connector.ErrNoID)
	_, err = Subscribe(t.Context(), ep, Filter{Kinds: 0x400})
	assert.ErrorIs(t, err, connector.ErrInvalid)
}

// nowhere is a bus that takes every message.
type nowhere struct {
	connector.Bus
	n int
}

func (n *nowhere) Post(context.Context, connector.Message, connector.Dest) error {
	n.n++
	return nil
}

func TestAgentDispatchAllocatesNothing(t *testing.T) {
	bus := &nowhere{}
	a := &Agent{cfg: (&AgentConfig{}).withDefaults(), bus: bus, send: bus.Post, ctx: t.Context()}
	a.loop.unfiltered = true
	tr := newTracker(t.TempDir())
	defer tr.close()
	tr.procs[5] = &tracked{uid: 7, cgroup: "/a/b", threads: 1}
	a.loop.tracker = tr
	for _, f := range []Filter{{Kinds: MaskOf(Comm)}, {UIDs: []uint32{7}}, {Cgroups: []string{"/a"}}, {Trees: []uint32{5}}} {
		a.loop.sending = append(a.loop.sending, &filterGroup{a: a, filter: f.canonical(), members: map[uint32]struct{}{5: {}}})
	}
	a.loop.sending = append(a.loop.sending, &filterGroup{a: a, site: true, filter: (&Filter{}).canonical()})
	a.loop.names = newEnricherAt(t.TempDir(), EnrichCmdline)
	defer a.loop.names.close()
	a.loop.names.known[5] = &Info{Cmdline: []string{"prog", "argument"}}
	e := Event{Kind: Comm, Pid: 5, Tgid: 5}
	assert.Zero(t, testing.AllocsPerRun(1000, func() { a.dispatch(&e) }))
	assert.Equal(t, 6*1001, bus.n)
}
