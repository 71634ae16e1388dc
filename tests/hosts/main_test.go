//go:build linux

package hosts

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// This binary plays the other processes too, so that what is tested is what the test was built with.
const (
	roleEnv   = "CNBUS_HOSTS_ROLE"
	configEnv = "CNBUS_HOSTS_CONFIG"
)

var roles = map[string]func() error{
	"holder": holderMain,
	"broker": brokerMain,
	"server": serverMain,
	"cell":   cellMain,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		rig.Main(m)
		return
	}
	if err := roles[role](); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func roleConfig[T any]() (c T, err error) {
	return c, json.Unmarshal([]byte(os.Getenv(configEnv)), &c)
}

func untilTerm() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}

// holderMain keeps a network namespace.
func holderMain() error {
	ctx, stop := untilTerm()
	defer stop()
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

// lease is that of the tests' sites, if they do not need a longer one. Servers that choose a leader take about as long.
const lease = 8 * time.Second

type brokerConfig struct {
	Socket, Name, URL string
	Embedded          *natsbridge.EmbeddedConfig
	Replicas          int
	Lease             time.Duration
	Policy            string // "": the default one
}

// brokerMain is `cnbus serve --join`, without its agents.
func brokerMain() error {
	c, err := roleConfig[brokerConfig]()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := untilTerm()
	defer stop()
	cfgb := &broker.Config{Socket: c.Socket, HistoryDir: "-", Drain: time.Second, Log: log, WillJoin: true}
	if c.Policy != "" {
		if cfgb.Policy, err = broker.ParsePolicy(c.Policy); err != nil {
			return err
		}
	}
	b, err := broker.New(cfgb)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	bctx, end := context.WithCancel(context.Background())
	defer end()
	go func() { served <- b.Serve(bctx) }()
	cfg := &natsbridge.Config{
		Host: c.Name, URL: c.URL, Lease: c.Lease, Replicas: c.Replicas, SameUsers: true, Log: log,
		SiteWide: func(id cbid.ID) bool { return id.Idx >= 0x200 && id.Idx <= 0x2ff },
	}
	if c.Embedded != nil {
		c.Embedded.Log = log
		server, err := natsbridge.StartEmbedded(*c.Embedded)
		if err != nil {
			return err
		}
		defer server.Close()
		cfg.Server = server
	}
	bridge, err := natsbridge.Join(ctx, b, cfg)
	if err != nil {
		return err
	}
	bus, err := b.Bus(ctx, "hosts")
	if err != nil {
		return err
	}
	if err := bridge.Serve(ctx, bus); err != nil {
		return err
	}
	if err := bus.AddCallback(ctx, figuresID, "figures", connector.HandlerFunc(answerFigures)); err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	_ = bus.Close()
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = bridge.Close(last)
	end()
	if e := <-served; err == nil {
		err = e
	}
	return err
}

// serverMain is the program nats-server; the configuration are its arguments.
func serverMain() error {
	args, err := roleConfig[[]string]()
	if err != nil {
		return err
	}
	fs := flag.NewFlagSet("nats-server", flag.ExitOnError)
	opts, err := server.ConfigureOptions(fs, args, func() {}, fs.Usage, func() {})
	if err != nil {
		return err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := server.Run(s); err != nil {
		return err
	}
	if !s.ReadyForConnections(patience) {
		return errors.New("not ready")
	}
	fmt.Println("ready")
	s.WaitForShutdown()
	return nil
}

// process is one that plays a role.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *bufio.Reader
	done chan struct{}
	errs *os.File
}

// play starts a role in the network namespace of ns (nil: one of its own) and waits until it is ready.
func play(t testing.TB, role string, config any, ns *process) *process {
	t.Helper()
	p := begin(t, role, config, ns)
	p.ready()
	return p
}

func begin(t testing.TB, role string, config any, ns *process) *process {
	t.Helper()
	b, err := json.Marshal(config)
	require.NoError(t, err)
	self, err := os.Readlink("/proc/self/exe")
	require.NoError(t, err)
	p := &process{t: t, done: make(chan struct{})}
	if ns == nil {
		p.cmd = exec.Command(self)
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	} else {
		p.cmd = exec.Command("nsenter", ns.net(), self)
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+role, configEnv+"="+string(b))
	p.errs, err = os.CreateTemp(t.TempDir(), role)
	require.NoError(t, err)
	p.cmd.Stderr = p.errs
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(p.errs.Name())
			t.Logf("%s %s said:\n%s", role, b, tail(text))
		}
	})
	return p
}

func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }

func (p *process) ready() {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		text, _ := os.ReadFile(p.errs.Name())
		require.NoError(p.t, err, "%s", text)
	}
	require.Equal(p.t, "ready\n", line)
	go func() {
		_, _ = io.Copy(io.Discard, p.out)
		_ = p.cmd.Wait()
		close(p.done)
	}()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.done:
	case <-time.After(patience):
	}
}
