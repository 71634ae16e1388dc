// Package cclient tests the C clients of the broker's protocol and of the RxRPC agent's against the
// broker and against Go clients.
package cclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/internal/testenv"
)

// build compiles an example with every warning an error.
func build(t *testing.T, source string) string {
	cc, err := exec.LookPath("cc")
	if err != nil {
		testenv.Skip(t, "no C compiler")
	}
	bin := filepath.Join(t.TempDir(), "client")
	out, err := exec.Command(cc, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o", bin, filepath.Join("..", "..", "examples", source)).CombinedOutput()
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
	return socket
}

func TestCClientIsAnAgentAndACaller(t *testing.T) {
	bin, socket := build(t, "c-client/client.c"), serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	agent := exec.CommandContext(ctx, bin, socket, "listen", "0x500", "7", "2")
	var stderr bytes.Buffer
	agent.Stderr = &stderr
	stdout, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "%s", &stderr)
	require.Equal(t, "registered", lines.Text())

	// C calls C.
	out, err := exec.CommandContext(ctx, bin, socket, "call", "0x500", "7", "hello").Output()
	require.NoError(t, err)
	assert.Equal(t, "HELLO\n", string(out))

	// Go calls C.
	bus, err := client.Dial(ctx, &client.Config{Socket: socket})
	require.NoError(t, err)
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	require.NoError(t, err)
	reply, err := ep.Call(ctx, connector.Message{ID: cbid.Make(0x500, 7), Data: []byte("from go")}, connector.Dest{})
	require.NoError(t, err)
	assert.Equal(t, "FROM GO", string(reply.Msg.Data))
	assert.EqualValues(t, agent.Process.Pid, reply.From.Cred.PID)
	require.True(t, lines.Scan())
	require.True(t, lines.Scan())
	assert.Regexp(t, `^from port \d+, uid \d+, pid \d+: from go$`, lines.Text())
	require.NoError(t, agent.Wait(), "%s", &stderr)

	// C calls Go.
	require.NoError(t, bus.AddCallback(ctx, cbid.Make(0x500, 8), "go", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		assert.NoError(t, d.Reply(ctx, append([]byte("got "), d.Msg.Data...)))
	})))
	out, err = exec.CommandContext(ctx, bin, socket, "call", "0x500", "8", "hi").Output()
	require.NoError(t, err)
	assert.Equal(t, "got hi\n", string(out))

	// The broker's refusals reach it.
	out, err = exec.CommandContext(ctx, bin, socket, "call", "0x500", "9", "hi").CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "broker: error 3")
	_, err = os.Stat(socket)
	require.NoError(t, err)
}
