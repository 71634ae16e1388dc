package cclient

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
)

// rxSite is a broker with an RxRPC agent.
func rxSite(t *testing.T) (socket string) {
	socket = serve(t)
	bus, err := client.Dial(t.Context(), &client.Config{Socket: socket})
	require.NoError(t, err)
	t.Cleanup(func() { _ = bus.Close() })
	a, err := rxagent.New(t.Context(), bus, &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return socket
}

// rxCall has the C client call a service.
func rxCall(ctx context.Context, bin, socket string, server netip.AddrPort, service int, request string) (reply, stderr string, err error) {
	cmd := exec.CommandContext(ctx, bin, socket, "call", server.Addr().String(), strconv.Itoa(int(server.Port())), strconv.Itoa(service))
	cmd.Stdin = strings.NewReader(request)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err = cmd.Run()
	return out.String(), diag.String(), err
}

// TestCRxClient: a C program without a socket of AF_RXRPC or UDP calls a server in Go: little, and more than the windows; and is told of
// aborts and of what the agent will not do.
func TestCRxClient(t *testing.T) {
	bin, socket := build(t, "c-rx/rx.c"), rxSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	require.NoError(t, s.Handle(7, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		b, err := io.ReadAll(call)
		if err == nil {
			_, err = call.Write(bytes.ToUpper(b))
		}
		return err
	})))
	require.NoError(t, s.Handle(8, rxrpc.Unary(func(context.Context, *rxrpc.ServerCall, []byte, []byte) ([]byte, error) {
		return nil, rxrpc.Abort(363524)
	})))
	for _, n := range []int{0, 1, 2000, 8192, 3_000_000} {
		request := strings.Repeat("all of it, ", n/11+1)[:n]
		reply, diag, err := rxCall(ctx, bin, socket, e.LocalAddr(), 7, request)
		require.NoError(t, err, "%d bytes: %s", n, diag)
		require.True(t, strings.ToUpper(request) == reply, "%d bytes: got %d", n, len(reply))
	}
	_, diag, err := rxCall(ctx, bin, socket, e.LocalAddr(), 8, "x")
	require.Error(t, err)
	assert.Equal(t, "call: aborted, code 363524\n", diag)
	_, diag, err = rxCall(ctx, bin, socket, netip.AddrPortFrom(e.LocalAddr().Addr(), 0), 7, "x")
	require.Error(t, err)
	assert.NotEmpty(t, diag)
}

// TestCRxServer: a C program serves callers in Go and in C, many at a time.
func TestCRxServer(t *testing.T) {
	bin, socket := build(t, "c-rx/rx.c"), rxSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const calls = 101
	server := exec.CommandContext(ctx, bin, socket, "serve", "127.0.0.1", "0", "52", strconv.Itoa(calls))
	var diag bytes.Buffer
	server.Stderr = &diag
	stdout, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	lines := bufio.NewScanner(stdout)
	require.True(t, lines.Scan(), "%s", &diag)
	var port uint16
	_, err = fmt.Sscanf(lines.Text(), "port %d", &port)
	require.NoError(t, err)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)

	reply, stderr, err := rxCall(ctx, bin, socket, at, 52, "from c")
	require.NoError(t, err, "%s", stderr)
	assert.Equal(t, "FROM C", reply)

	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	c := e.Client(at, nil)
	_, err = c.Call(ctx, 52, make([]byte, 70_000))
	require.ErrorIs(t, err, rxrpc.Abort(-453), "longer than it takes")
	var wg sync.WaitGroup
	for i := range calls - 1 {
		wg.Go(func() {
			request := strings.Repeat("from go ", 80*i)
			reply, err := c.Call(ctx, 52, []byte(request))
			if assert.NoError(t, err) {
				assert.Equal(t, strings.ToUpper(request), string(reply))
			}
		})
	}
	wg.Wait()
	require.NoError(t, server.Wait(), "%s", &diag)
}
