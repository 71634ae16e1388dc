//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// cellMain is a server that only one host can reach: RxRPC, service 1234, and TCP on the same port, which both echo.
// Of RxRPC "wait" is never answered.
func cellMain() error {
	at, err := roleConfig[netip.AddrPort]()
	if err != nil {
		return err
	}
	ctx, stop := untilTerm()
	defer stop()
	e, err := rxrpc.Open(at, nil)
	if err != nil {
		return err
	}
	defer e.Close()
	echo := func(ctx context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		if string(request) == "wait" {
			<-ctx.Done()
		}
		return append(dst, request...), nil
	}
	if err := rxrpc.NewServer(e, nil).Handle(1234, rxrpc.Unary(echo)); err != nil {
		return err
	}
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	fmt.Println("ready")
	<-ctx.Done()
	return nil
}

const agentsPolicy = `
[[rule]]
uid = ["self"]
register = ["*"]
send = ["*"]
join = ["*"]
publish = ["*"]
unicast = true
rx_keys = ["*"]

[[rule]]
name = "guests"
uid = ["*"]
send = ["*"]
join = ["*"]
publish = ["*"]
rx_call = ["10.97.0.2:7000 1234"]
sock_connect = ["tcp 10.97.0.2:7000"]
`

// TestAgentsOfAnotherHost: RxRPC and sockets of host 2, which alone can reach a server, used from host 1.
func TestAgentsOfAnotherHost(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, os.Chmod(w.dir, 0o755))
	w.serve()
	policy := filepath.Join(w.dir, "policy.toml")
	require.NoError(t, os.WriteFile(policy, []byte(agentsPolicy), 0o644))
	a, b := w.add(), w.add()
	// The server's network has one way in, from host 2.
	cell := play(w.root, "holder", nil, nil)
	b.ns.within("ip", "link", "add", "cell", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(cell.cmd.Process.Pid))
	b.ns.within("ip", "addr", "add", "10.97.0.1/30", "dev", "cell")
	b.ns.within("ip", "link", "set", "cell", "up")
	cell.within("ip", "addr", "add", "10.97.0.2/30", "dev", "eth0")
	cell.within("ip", "link", "set", "eth0", "up")
	server := netip.MustParseAddrPort("10.97.0.2:7000")
	play(w.root, "cell", server, cell)

	join := fmt.Sprintf("cnbus serve --join %s --lease %v --no-proc", w.url(), lease)
	serve := func(h *host, args string) *program {
		p := h.run(fmt.Sprintf("%s --host %s %s", join, h.cfg.Name, args))
		p.expect(`joined site main as host ` + h.cfg.Name)
		return p
	}
	serve(a, "--host-uids same --policy "+policy) // so that what host 2 sends to a port may come
	broker := serve(b, "--host-uids same --site-agents --policy "+policy)
	w.settled()
	number := a.number(b)

	t.Run("by command, without privilege", func(t *testing.T) {
		w.offered(a, "cnbus rx call --on host2 10.97.0.2:7000 1234 hello", "^hello\n$")
		code, text := a.runAs(nobody, "cnbus rx call --on host2 10.97.0.2:7000 1234 hello").ends()
		assert.Zero(t, code, text)
		assert.Equal(t, "hello\n", text)
		code, text = a.runAs(nobody, "cnbus rx call --timeout 5s 10.97.0.2:7000 1234 hello").ends()
		assert.NotZero(t, code, "host 1 cannot reach it by itself: %s", text)
		code, text = a.runAs(nobody, "cnbus rx call --on host2 10.97.0.2:7000 1235 hello").ends()
		assert.NotZero(t, code, text)
		assert.Contains(t, text, "guests", "the policy of host 2 decides")
		code, text = a.run("cnbus rx call --on host9 10.97.0.2:7000 1234 hello").ends()
		assert.NotZero(t, code)
		assert.Contains(t, text, "--on host9: no such host in the site, which has host1, host2")
		code, text = b.run("cnbus rx call --on host1 10.97.0.2:7000 1234 hello").ends()
		assert.NotZero(t, code)
		assert.Contains(t, text, "host host1 offers no RxRPC agent to the site ('cnbus serve --site-agents'), or is gone")
		assert.Contains(t, a.must("cnbus rx peers --on host2"), "10.97.0.2:7000")
		a.must("cnbus sock ls --on host2")
		a.must("cnbus rx key ls --on host2")
	})

	t.Run("by programs, while the host dies and comes back", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		rx, err := rxclient.Dial(ctx, a.dial("rx"), &rxclient.Config{Host: number})
		require.NoError(t, err)
		defer rx.Close()
		c, err := rx.Dial(server.String(), &rxrpc.ClientConfig{MaxReply: 1 << 20})
		require.NoError(t, err)
		defer c.Close()
		big := make([]byte, 300<<10) // more than any window
		for i := range big {
			big[i] = byte(i * 7919 >> 4)
		}
		reply, err := c.Call(ctx, 1234, big)
		require.NoError(t, err)
		assert.Equal(t, big, reply)

		ts, err := tsagent.NewClient(ctx, a.dial("sockets"), &tsagent.ClientConfig{Host: number})
		require.NoError(t, err)
		defer ts.Close()
		here, there := tsocket.MustAddr(tsocket.ParseHostPort("ip", "0.0.0.0:0", 0)), tsocket.MustAddr(tsocket.AddrFrom(server))
		_, err = ts.DialTCP(ctx, here, tsocket.MustAddr(tsocket.ParseHostPort("ip", "127.0.0.1:22", 0)))
		require.ErrorContains(t, err, "guests", "the policy of host 2 decides")
		s, err := ts.DialTCP(ctx, here, there)
		require.NoError(t, err)
		defer s.Close()
		echo := func(s *tsocket.Stream) {
			sent := make(chan error, 1)
			go func() {
				_, err := s.Writev(ctx, big)
				sent <- err
			}()
			got := make([]byte, len(big))
			_, err := s.Readv(ctx, got)
			require.NoError(t, err)
			require.NoError(t, <-sent)
			assert.Equal(t, big, got)
		}
		echo(s)

		// What is under way when the host dies ends, once, and says why.
		called, read := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := c.Call(ctx, 1234, []byte("wait"))
			called <- err
		}()
		go func() {
			_, err := s.Readv(ctx, make([]byte, 1))
			read <- err
		}()
		for !strings.Contains(b.must("cnbus rx calls"), "10.97.0.2:7000") { // until it is there
			w.pause(ctx, "the call")
		}
		broker.kill()
		began := time.Now()
		require.ErrorIs(t, <-called, rxclient.ErrDown)
		err = <-read
		require.ErrorIs(t, err, tsagent.ErrDown)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		t.Logf("told after %v, of a lease of %v", time.Since(began).Round(time.Millisecond), lease)
		_, err = ts.DialTCP(ctx, here, there)
		require.Error(t, err)
		assert.True(t, errors.Is(err, connector.ErrNoID) || errors.Is(err, tsagent.ErrDown), "%v", err)

		broker = serve(b, "--host-uids same --site-agents --policy "+policy)
		w.settled()
		w.offered(a, "cnbus rx call --on host2 10.97.0.2:7000 1234 hello", "^hello\n$")
		reply, err = c.Call(ctx, 1234, []byte("again"))
		require.NoError(t, err, "the client finds it again by itself")
		assert.Equal(t, "again", string(reply))
		s, err = ts.DialTCP(ctx, here, there)
		require.NoError(t, err)
		defer s.Close()
		echo(s)
	})

	t.Run("nobody is there after the end", func(t *testing.T) {
		broker.stop()
		code, text := a.run("cnbus rx call --on " + fmt.Sprint(number) + " 10.97.0.2:7000 1234 hello").ends()
		assert.NotZero(t, code)
		assert.Contains(t, text, "no such host in the site")
	})
}

// number is the number of another host.
func (h *host) number(other *host) uint32 {
	var n uint32
	h.await("it is known", func(rows []natsbridge.HostRow) bool {
		for _, r := range rows {
			if r.Name == other.cfg.Name {
				n = r.Number
			}
		}
		return n != 0
	})
	return n
}

// offered waits until a command on h prints what matches: what a host offers to the site is there soon after it has joined.
func (w *world) offered(h *host, line, pattern string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		code, text := h.run(line).ends()
		if code == 0 {
			assert.Regexp(w.t, pattern, text)
			return
		}
		w.pause(ctx, line+": "+text)
	}
}
