package rxagent_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	busclient "github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// serveBroker runs a broker with an agent in its process.
func serveBroker(ctx context.Context, path string, cfg *rxagent.Config) (stop func() error, err error) {
	b, err := broker.New(&broker.Config{Socket: path, HistoryDir: "-", Log: quiet})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	bus, err := b.Bus(ctx, "rxrpc")
	var agent *rxagent.Agent
	if err == nil {
		agent, err = rxagent.New(ctx, bus, cfg)
	}
	stop = func() error {
		if agent != nil {
			_ = agent.Close()
		}
		if bus != nil {
			_ = bus.Close()
		}
		cancel()
		return <-served
	}
	return stop, err
}

func socketPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "b.sock")
}

// withBroker runs a broker with an agent in this process, and returns what dials it.
func withBroker(t testing.TB, cfg *rxagent.Config) (dial func() connector.Bus) {
	t.Helper()
	path := socketPath(t)
	stop, err := serveBroker(soon(t), path, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })
	return func() connector.Bus { return dial1(t, path) }
}

func dial1(t testing.TB, path string) connector.Bus {
	t.Helper()
	c, err := busclient.Dial(soon(t), &busclient.Config{Socket: path, Logger: quiet})
	require.NoError(t, err)
	return c
}

// child is a broker with an agent until it is killed.
func child(path string) {
	if _, err := serveBroker(context.Background(), path, nil); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// startChild runs one, and returns what kills it.
func startChild(t testing.TB, path string) (kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childMark+"="+path)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	kill = sync.OnceFunc(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return kill
}

// TestThroughABroker: calls of any length between processes of a broker.
func TestThroughABroker(t *testing.T) {
	dial := withBroker(t, nil)
	server, cl := newClient(t, dial()), newClient(t, dial())
	s, a := server.server(52)
	k := cl.connected(a)
	for tag, size := range []int{0, 3000, 700000} {
		require.NoError(t, server.command(s, command(uint64(tag), rxrpc.CtlChargeAccept)))
		go cl.send(k, 7, pattern(size))
		got, _ := server.phase(s, uint64(tag))
		assert.Equal(t, string(pattern(size)), string(got))
		go server.send(s, uint64(tag), got)
		got, flags := cl.phase(k, 7)
		assert.Equal(t, string(pattern(size)), string(got))
		assert.Equal(t, rxrpc.MsgEOR, flags)
		assert.Equal(t, command(uint64(tag), rxrpc.CtlAck), server.msg().Control)
	}
}

// TestClientThatDoesNotRead: more waits for it than the broker holds. Others go on, and when it reads it has
// lost nothing.
func TestClientThatDoesNotRead(t *testing.T) {
	const calls, size = 24, 200000
	dial := withBroker(t, nil)
	server := echo(t, 52)
	deaf, other := newClient(t, dial()), newClient(t, dial())
	s, k := deaf.connected(server), other.connected(server)
	request := pattern(size)
	for tag := range uint64(calls) {
		deaf.send(s, tag, request)
	}
	for tag := range uint64(50) {
		other.send(k, tag, pattern(5000))
		got, _ := other.phase(k, tag)
		require.Equal(t, pattern(5000), got)
	}
	got := make([][]byte, calls)
	for ended := 0; ended < calls; {
		m := deaf.msg()
		tag := m.Control.CallID
		got[tag] = append(got[tag], m.Data...)
		if m.Flags&rxrpc.MsgEOR != 0 {
			ended++
			require.Equal(t, string(request), string(got[tag]), "call %d", tag)
		}
	}
}

// TestBrokerKilled: in the middle of transfers. The client is told once, and can open its socket again when there is
// another broker.
func TestBrokerKilled(t *testing.T) {
	path := socketPath(t)
	kill := startChild(t, path)
	server := echo(t, 52)
	c := newClient(t, dial1(t, path))
	s := c.connected(server)
	for tag := range uint64(16) {
		c.post(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s}, 0, message(t, rxrpc.Msg{Control: control(tag), Flags: rxrpc.MsgMore, Data: pattern(10000)}))
	}
	c.send(s, 99, pattern(20000))
	kill()
	startChild(t, path)
	down, up := 0, 0
	for up == 0 {
		ev, err := c.ep.Recv(soon(t))
		require.NoError(t, err)
		switch ev.Kind {
		case connector.EventDown:
			down++
		case connector.EventUp:
			up++
		}
	}
	assert.Equal(t, 1, down)
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpGetName, Sock: s}, nil)
	require.ErrorContains(t, err, fmt.Sprintf("socket %d", s), "it was the other agent's")
	clear(c.seq)
	s = c.connected(server)
	c.send(s, 1, pattern(20000))
	got, _ := c.phase(s, 1)
	assert.Equal(t, pattern(20000), got)
}
