package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
)

// build compiles one of the examples.
func build(t *testing.T, name string) string {
	bin := filepath.Join(t.TempDir(), name)
	out, err := exec.Command("go", "build", "-o", bin, "../../examples/"+name).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

func serve(t *testing.T) (socket string) {
	socket = filepath.Join(t.TempDir(), "s")
	b, err := broker.New(&broker.Config{Socket: socket, Log: slog.New(slog.DiscardHandler)})
	if errors.Is(err, connector.ErrNotSupported) {
		testenv.Skip(t, "the broker needs Linux")
	}
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Serve(ctx) }()
	t.Cleanup(func() { stop(); require.NoError(t, <-done) })
	bus, err := b.Bus(ctx, "rxrpc")
	require.NoError(t, err)
	agent, err := rxagent.New(ctx, bus, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, agent.Close()); bus.Close() })
	return socket
}

func TestRxHello(t *testing.T) {
	cmd := exec.Command(build(t, "rx-hello"))
	cmd.Env = append(os.Environ(), "CNBUS_SOCKET="+serve(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "hello, world\n", string(out))
}

func TestHello(t *testing.T) {
	cmd := exec.Command(build(t, "hello"))
	cmd.Env = append(os.Environ(), "CNBUS_SOCKET="+serve(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, fmt.Sprintf("hello, uid %d: it works\n", os.Geteuid()), string(out))
}

// The connector's notification, over a broker.
func TestNotify(t *testing.T) {
	out, err := exec.Command(build(t, "notify"), "-bus", "unix:"+serve(t)).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, "8449:5 is on\n8450:100 is on\n8449:5 is off\n8450:100 is off\n", string(out))
}

func TestThermometer(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	socket := serve(t)
	bus, err := client.Dial(ctx, &client.Config{Socket: socket})
	require.NoError(t, err)
	defer bus.Close()
	id := cbid.Make(0x2000, 1)
	w, err := bus.Watch(ctx, cbid.SetOf(id))
	require.NoError(t, err)

	agent := exec.CommandContext(ctx, build(t, "thermometer"))
	agent.Env = append(os.Environ(), "CNBUS_SOCKET="+socket)
	var log bytes.Buffer
	agent.Stderr = &log
	require.NoError(t, agent.Start())
	for {
		c, err := w.Next(ctx)
		require.NoError(t, err, "%s", &log)
		if c.Kind == connector.ChangeAdded {
			assert.Equal(t, "thermometer", c.Info.Name)
			break
		}
	}
	ep, err := bus.Endpoint(ctx)
	require.NoError(t, err)
	reply, err := ep.Call(ctx, connector.Message{ID: id}, connector.Dest{})
	require.NoError(t, err)
	assert.Regexp(t, `^2\d\.\d °C$`, string(reply.Msg.Data))
	require.NoError(t, ep.Join(ctx, id.Idx))
	for range 3 {
		ev, err := ep.Recv(ctx)
		require.NoError(t, err)
		require.Equal(t, connector.EventMessage, ev.Kind)
		assert.Regexp(t, `^2\d\.\d °C$`, string(ev.Msg.Data))
	}
	require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
	require.NoError(t, agent.Wait(), "%s", &log)
	assert.Empty(t, log.String())
	c, err := w.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, connector.ChangeRemoved, c.Kind)
}
