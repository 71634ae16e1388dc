package tsagent_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// What this process is started as besides, with the path of the broker's socket and an address.
const (
	roleEnv   = "TSAGENT_TEST_ROLE"
	brokerEnv = "TSAGENT_TEST_BROKER"
	atEnv     = "TSAGENT_TEST_AT"
)

// roles run until their process is killed. They say on standard output when they are ready.
var roles = map[string]func(ctx context.Context) error{"broker": brokerRole, "user": userRole}

func init() {
	child = func() bool {
		role, ok := roles[os.Getenv(roleEnv)]
		if ok {
			if err := role(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		return ok
	}
}

// process is another process in one of the roles. It ends with the test at the latest.
type process struct{ cmd *exec.Cmd }

// launch returns what the process says behind "ready", too.
func launch(t testing.TB, role, brokerAt, at string) (*process, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+role, brokerEnv+"="+brokerAt, atEnv+"="+at, "GORACE=halt_on_error=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	said, ok := strings.CutPrefix(strings.TrimSpace(line), "ready")
	require.True(t, ok, line)
	return p, strings.TrimSpace(said)
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// brokerRole is a broker with an agent.
func brokerRole(ctx context.Context) error {
	quiet := slog.New(slog.DiscardHandler)
	b, err := broker.New(&broker.Config{Socket: os.Getenv(brokerEnv), HistoryDir: "-", Drain: time.Second, Log: quiet})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	bus, err := b.Bus(ctx, "agent")
	if err != nil {
		return err
	}
	if _, err := tsagent.New(ctx, bus, &tsagent.Config{Logger: quiet}); err != nil {
		return err
	}
	fmt.Println("ready")
	return <-served
}

// Streams of a user: what they do is told by their number.
const userStreams = 12

// userRole connects streams to AT, of which a third writes for ever, a third reads and the others do both, and sends itself
// datagrams. It says the number of one of its sockets.
func userRole(ctx context.Context) error {
	bus, err := client.Dial(ctx, &client.Config{Socket: os.Getenv(brokerEnv), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c, err := tsagent.NewClient(ctx, bus, nil)
	if err != nil {
		return err
	}
	at, err := netip.ParseAddrPort(os.Getenv(atEnv))
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Add(userStreams)
	for i := range userStreams {
		s, err := c.DialTCP(ctx, tsocket.Addr{}, tsocket.MustAddr(tsocket.AddrFrom(at)))
		if err != nil {
			return err
		}
		begun := sync.OnceFunc(wg.Done)
		if i%3 != 0 {
			go func() {
				for b := make([]byte, 50_000); err == nil; _, err = s.Writev(ctx, b) {
					begun()
				}
			}()
		}
		if i%3 != 1 {
			go func() {
				var err error
				for b := make([]byte, 50_000); err == nil; _, err = s.ReadSome(ctx, b) {
					begun()
				}
			}()
		}
	}
	d, err := c.UDP(ctx, local4(0), tsocket.Addr{})
	if err != nil {
		return err
	}
	go func() {
		for {
			_, _ = d.SendTo(ctx, make([]byte, 1000), d.LocalAddr())
		}
	}()
	go func() {
		for b := make([]byte, 1000); ; {
			_, _, _ = d.RecvFrom(ctx, b)
		}
	}()
	wg.Wait()
	all, err := c.Stat(ctx)
	if err != nil {
		return err
	}
	fmt.Println("ready", all.Sockets[len(all.Sockets)-1].Num)
	select {}
}

// busy is the far end of a user's streams: it writes and reads what there is.
type busy struct {
	lis  *tsocket.Listener
	ends chan error // of streams
}

func newBusy(t testing.TB) *busy {
	l, err := tsocket.ListenTCP(local4(0), nil)
	require.NoError(t, err)
	b := &busy{l, make(chan error, 10*userStreams)}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(background)
	wg.Go(func() {
		for {
			s, err := l.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() { b.ends <- b.serve(ctx, s) })
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		assert.NoError(t, l.Close())
	})
	return b
}

func (b *busy) serve(ctx context.Context, s *tsocket.Stream) error {
	defer s.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		var err error
		for out := make([]byte, 50_000); err == nil; _, err = s.Writev(ctx, out) {
		}
	})
	for in := make([]byte, 50_000); ; {
		if _, err := s.ReadSome(ctx, in); err != nil {
			return err
		}
	}
}

// transfer has n bytes go through two sockets of the agent.
func transfer(t testing.TB, c *tsagent.Client, n int) {
	t.Helper()
	l, err := c.ListenTCP(soon(t), local4(0), nil)
	require.NoError(t, err)
	defer l.Close()
	a, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	defer a.Close()
	b, err := l.Accept(soon(t))
	require.NoError(t, err)
	defer b.Close()
	w := a.WritevSend(soon(t), make([]byte, n))
	k, err := b.Readv(soon(t), make([]byte, n))
	require.NoError(t, err)
	require.EqualValues(t, n, k)
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
}

// A process that is killed in the middle of transfers loses its connections, its sockets are freed, and others go on. While it lives its
// sockets are nobody else's.
func TestProcessIsKilledDuringTransfers(t *testing.T) {
	b := newBroker(t)
	s := &site{bus: b.dial}
	s.start(t, nil)
	far := newBusy(t)
	p, said := launch(t, "user", b.path, far.lis.Addr().AddrPort().String())
	var num uint32
	_, err := fmt.Sscan(said, &num)
	require.NoError(t, err)
	other := s.raw(t)
	for op := tsagent.OpBind; op <= tsagent.OpCancel; op++ {
		other.refuse(syscall.EBADF, tsagent.Header{Op: op, Sock: num, Arg: 1}, []byte("body"))
	}
	c := s.client(t)
	going := make(chan struct{})
	go func() {
		defer close(going)
		transfer(t, c, 4<<20)
	}()
	p.kill()
	for range userStreams {
		select {
		case err := <-far.ends:
			require.Error(t, err)
		case <-time.After(patience):
			require.FailNow(t, "a connection of the dead goes on")
		}
	}
	<-going
	require.Eventually(t, func() bool { return s.agent.Stats().Sockets == 0 && len(s.agent.Sockets()) == 0 }, patience, time.Millisecond)
	transfer(t, c, 1<<20)
}

// A process that is stopped reads nothing, and stops only its own sockets; when it goes on, so do they.
func TestProcessIsStoppedDuringTransfers(t *testing.T) {
	b := newBroker(t)
	s := &site{bus: b.dial}
	s.start(t, nil)
	far := newBusy(t)
	p, _ := launch(t, "user", b.path, far.lis.Addr().AddrPort().String())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	c := s.client(t)
	for range 3 {
		transfer(t, c, 4<<20)
	}
	moved := func() (sum uint64) {
		for _, k := range s.agent.Sockets() {
			sum += k.BytesIn + k.BytesOut
		}
		return sum
	}
	// What was on its way, and has room, goes on for a moment.
	before := moved()
	require.Eventually(t, func() bool {
		now := moved()
		same := now == before
		before = now
		return same
	}, patience, 100*time.Millisecond)
	transfer(t, c, 1<<20)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return moved() > before+2<<20 }, patience, 10*time.Millisecond)
	require.Empty(t, far.ends, "no connection was lost")
}

// The broker, and the agent in it, are killed in the middle of transfers: each socket tells it once, clearly, to whoever waits, its connections
// end, and others can be opened with the next broker.
func TestBrokerIsKilledDuringTransfers(t *testing.T) {
	dir, err := os.MkdirTemp("", "cnbus")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &realBroker{path: filepath.Join(dir, "b.sock")}
	p, _ := launch(t, "broker", r.path, "")
	far := newBusy(t)
	c, err := tsagent.NewClient(soon(t), r.dial(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	ctx := soon(t)
	var all, begun sync.WaitGroup
	for i := range userStreams {
		s, err := c.DialTCP(soon(t), tsocket.Addr{}, far.lis.Addr())
		require.NoError(t, err)
		begun.Add(1)
		all.Go(func() {
			b := make([]byte, 50_000)
			for n := 0; ; n++ {
				var err error
				if i%2 == 0 {
					_, err = s.Writev(ctx, b)
				} else {
					_, err = s.Readv(ctx, b)
				}
				if n == 10 {
					begun.Done()
				}
				if err != nil {
					assert.ErrorIs(t, err, tsagent.ErrDown)
					assert.ErrorIs(t, err, syscall.ECONNRESET)
					assert.NoError(t, s.Close())
					return
				}
			}
		})
	}
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	all.Go(func() {
		for {
			if _, err := d.SendTo(ctx, make([]byte, 100), d.LocalAddr()); err != nil {
				assert.ErrorIs(t, err, tsagent.ErrDown)
				return
			}
		}
	})
	begun.Wait()
	p.kill()
	all.Wait()
	for range userStreams {
		require.Error(t, <-far.ends)
	}
	require.NoError(t, d.Close())

	launch(t, "broker", r.path, "")
	require.Eventually(t, func() bool {
		l, err := c.ListenTCP(soon(t), local4(0), nil)
		return err == nil && l.Close() == nil
	}, patience, 10*time.Millisecond)
	transfer(t, c, 1<<20)
}
