package overtls

import (
	"context"
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
	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	echoID = cbid.Make(0x300, 1)
	dest   connector.Dest
)

// inside is a broker in this process.
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

// patience bounds every wait.
const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
