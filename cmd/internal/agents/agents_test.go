package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const patience = 2 * time.Minute

// asked is a policy that writes down what it was asked.
type asked struct {
	mu   sync.Mutex
	list []string
	deny broker.Action
	no   error
}

func (a *asked) allow(_ connector.From, acc broker.Access) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, acc.Action.String()+" "+acc.String())
	if a.no != nil && acc.Action == a.deny {
		return a.no
	}
	return nil
}

func (a *asked) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) == 0 {
		return ""
	}
	return a.list[len(a.list)-1]
}

func start(t *testing.T, cfg Config) (*loopback.Hub, *Agents) {
	hub := loopback.New(nil)
	cfg.Open = func(context.Context) (connector.Bus, error) { return hub.Open(), nil }
	cfg.Log = slog.New(slog.DiscardHandler)
	a := Start(t.Context(), cfg)
	t.Cleanup(a.Stop)
	return hub, a
}

// A call through both agents; the policy is asked for both sides; all ends.
func TestStartAndStop(t *testing.T) {
	p := &asked{deny: broker.RxCall}
	hub, a := start(t, Config{Allow: p.allow})
	require.NoError(t, a.Sock.Err)
	require.NoError(t, a.Rx.Err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bus := hub.Open()
	defer bus.Close()
	rx, err := rxclient.Dial(ctx, bus, nil)
	require.NoError(t, err)
	defer rx.Close()
	e, err := rx.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	echo := func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	}
	server := rxrpc.NewServer(e, nil)
	defer server.Close()
	require.NoError(t, server.Handle(7, rxrpc.Unary(echo)))
	assert.Equal(t, "rx_listen "+e.LocalAddr().String()+" 7", p.last())
	c, err := rx.Dial(e.LocalAddr().String(), nil)
	require.NoError(t, err)
	defer c.Close()
	reply, err := c.Call(ctx, 7, []byte("x"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(reply))
	assert.Equal(t, "rx_call "+e.LocalAddr().String()+" 7", p.last())
	ts, err := tsagent.NewClient(ctx, bus, nil)
	require.NoError(t, err)
	defer ts.Close()
	all, err := ts.Stat(ctx)
	require.NoError(t, err)
	require.Len(t, all.Sockets, 2, "the endpoints of server and client")
	for _, k := range all.Sockets {
		assert.Equal(t, "rxrpc", k.Owner)
		assert.Equal(t, "ipv4 dgram", k.Family+" "+k.Type)
	}
	assert.Equal(t, "ipv4:"+e.LocalAddr().String(), all.Sockets[0].Local)
	s, ok := a.Rx.Stats()
	require.True(t, ok)
	assert.Equal(t, 2, s.Conns, "one has two ends here")

	p.mu.Lock()
	p.no = &broker.DeniedError{Access: broker.Access{Action: broker.RxCall}, Rules: []string{"strict"}}
	p.mu.Unlock()
	_, err = c.Call(ctx, 8, nil)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "no rx_call of rule strict")

	a.Stop()
	a.Stop()
	short, end := context.WithTimeout(ctx, 10*time.Millisecond)
	defer end()
	_, err = c.Call(short, 7, nil) // waits for another agent
	assert.Error(t, err)
}

// quota is what everybody may have.
type quota struct {
	limits broker.Limits
	told   chan string
}

func (q *quota) Limits(uint32) broker.Limits { return q.limits }

func (q *quota) Exceeded(_ connector.Cred, what string, limit int64) {
	q.told <- fmt.Sprint(what, " ", limit)
}

// The limits have the names of the policy, for both agents.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		limits broker.Limits
		told   string
		errno  syscall.Errno
	}{
		{broker.Limits{Sockets: 0, SockBytes: -1}, "sockets 0", syscall.EMFILE},
		{broker.Limits{Sockets: -1, SockBytes: 7}, "sock_bytes 7", syscall.ENOBUFS},
		{broker.Limits{Sockets: -1, SockBytes: -1, RxSockets: 0}, "rx_sockets 0", syscall.EMFILE},
		{broker.Limits{Sockets: -1, SockBytes: -1, RxSockets: -1, RxCalls: 0, RxBytes: -1}, "rx_calls 0", syscall.ENOBUFS},
		{broker.Limits{Sockets: -1, SockBytes: -1, RxSockets: -1, RxCalls: -1, RxBytes: 1}, "rx_bytes 1", syscall.ENOBUFS},
	} {
		t.Run(c.told, func(t *testing.T) {
			q := &quota{limits: c.limits, told: make(chan string, 99)}
			hub, a := start(t, Config{Quota: q})
			require.NoError(t, a.Sock.Err)
			require.NoError(t, a.Rx.Err)
			require.ErrorIs(t, useAll(t, hub), c.errno)
			assert.Equal(t, c.told, <-q.told)
		})
	}
}

// useAll opens a socket and makes a call, until something fails.
func useAll(t *testing.T, hub *loopback.Hub) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bus := hub.Open()
	defer bus.Close()
	socks, err := tsagent.NewClient(ctx, bus, nil)
	require.NoError(t, err)
	defer socks.Close()
	d, err := socks.UDP(ctx, tsocket.MustAddr(tsocket.ParseHostPort("ip", "127.0.0.1:0", 0)), tsocket.Addr{})
	if err != nil {
		return err
	}
	defer d.Close()
	rx, err := rxclient.Dial(ctx, bus, nil)
	require.NoError(t, err)
	defer rx.Close()
	own, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer own.Close()
	echo := func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	}
	require.NoError(t, rxrpc.NewServer(own, nil).Handle(7, rxrpc.Unary(echo)))
	c, err := rx.Dial(own.LocalAddr().String(), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(ctx, 7, []byte("hello"))
	return err
}

// Those of keys are EDQUOT.
func TestLimitsOfKeys(t *testing.T) {
	for told, limits := range map[string]broker.Limits{
		"rx_keys 1": {RxKeys: 1, RxKeyBytes: -1}, "rx_key_bytes 10": {RxKeys: -1, RxKeyBytes: 10},
	} {
		q := &quota{limits: limits, told: make(chan string, 9)}
		k := keyPolicy{rxkeys.New(&rxkeys.Config{Store: keyring.Config{Quota: rxQuota{q}.keys}}), func(connector.From, broker.Access) error { return nil }, q}
		add := rxmsg.KeyAdd{Type: string(keyring.TypeServer), Description: "52:2", Payload: []byte("\xa7\x83\x8a\xcb\xc7\x83\xec\x94")}
		body, err := add.Append(nil)
		require.NoError(t, err)
		_, _, err = k.Do(t.Context(), connector.From{Port: 1, Cred: connector.Cred{UID: 1}}, rxmsg.Header{Op: rxmsg.OpKeyAdd}, body)
		require.ErrorIs(t, err, syscall.EDQUOT)
		require.Equal(t, told, <-q.told)
	}
}

func TestWhatIsNotWanted(t *testing.T) {
	_, a := start(t, Config{NoRx: true, NoSock: true})
	require.ErrorIs(t, a.Sock.Err, ErrOff)
	require.ErrorIs(t, a.Rx.Err, ErrOff)
	_, ok := a.Sock.Stats()
	assert.False(t, ok)
	_, ok = a.Rx.Stats()
	assert.False(t, ok)
	a.Stop()
}

func TestNoPlaceOnTheBus(t *testing.T) {
	no := errors.New("no")
	a := Start(t.Context(), Config{Open: func(context.Context) (connector.Bus, error) { return nil, no }})
	require.ErrorIs(t, a.Sock.Err, no)
	require.ErrorIs(t, a.Rx.Err, no)
	a.Stop()
}

// The port of --rx-port is the first client's; who wants one of his own gets another. One that is in use is an error.
func TestRxPort(t *testing.T) {
	var a *Agents
	var port uint16
	for range 10 { // another process may be given the port as soon as it is free
		other, err := rxrpc.Open(netip.MustParseAddrPort("0.0.0.0:0"), nil)
		require.NoError(t, err)
		port = other.LocalAddr().Port()
		_, a = start(t, Config{NoSock: true, RxPort: port})
		require.ErrorIs(t, a.Rx.Err, syscall.EADDRINUSE)
		require.NoError(t, other.Close())
		if _, a = start(t, Config{NoSock: true, RxPort: port}); !errors.Is(a.Rx.Err, syscall.EADDRINUSE) {
			break
		}
	}
	require.NoError(t, a.Rx.Err)
	wild := netip.MustParseAddrPort("0.0.0.0:0")
	first, err := a.Rx.udp.open(wild, nil)
	require.NoError(t, err)
	defer first.Close()
	second, err := a.Rx.udp.open(wild, nil)
	require.NoError(t, err)
	defer second.Close()
	assert.Equal(t, port, first.LocalAddr().Port())
	assert.NotZero(t, second.LocalAddr().Port())
	assert.NotEqual(t, port, second.LocalAddr().Port())
	_, err = a.Rx.udp.open(netip.AddrPortFrom(wild.Addr(), port), nil)
	assert.ErrorIs(t, err, syscall.EADDRINUSE)
}

func TestSockAccess(t *testing.T) {
	ip := tsocket.MustAddr(tsocket.ParseHostPort("ip", "192.0.2.1:80", 0))
	path := tsocket.MustAddr(tsocket.UnixAddr("/run/x"))
	abstract := tsocket.MustAddr(tsocket.AbstractAddr("x"))
	file := tsocket.MustAddr(tsocket.UnixAddr("@x")) // of that name, in the broker's directory
	for want, a := range map[string]tsagent.Access{
		"sock_connect tcp 192.0.2.1:80":   {Op: tsagent.OpConnect, Family: "ipv4", Stream: true, Addr: ip},
		"sock_connect udp 192.0.2.1:80":   {Op: tsagent.OpSendTo, Family: "ipv4", Addr: ip},
		"sock_bind udp 192.0.2.1:80":      {Op: tsagent.OpBind, Family: "ipv4", Addr: ip},
		"sock_bind tcp 192.0.2.1:80":      {Op: tsagent.OpListen, Family: "ipv4", Stream: true, Addr: ip},
		"sock_connect unix-stream /run/x": {Op: tsagent.OpConnect, Family: "unix", Stream: true, Addr: path},
		"sock_bind unix-dgram @x":         {Op: tsagent.OpBind, Family: "unix", Addr: abstract},
		"sock_connect unix-stream ./@x":   {Op: tsagent.OpConnect, Family: "unix", Stream: true, Addr: file},
	} {
		got, ok := sockAccess(&a)
		require.True(t, ok, want)
		assert.Equal(t, want, got.Action.String()+" "+got.String())
	}
	_, ok := sockAccess(&tsagent.Access{Op: tsagent.OpOpen, Family: "ipv4"})
	assert.False(t, ok, "it does nothing yet")
}

// Every operation on keys has a word of the policy.
func TestKeyOps(t *testing.T) {
	for op := rxmsg.OpKeyFirst; op <= rxmsg.OpKeyClear; op++ {
		assert.True(t, slices.Contains(broker.KeyOps, keyOps[op]), "%v", op)
	}
	no := errors.New("no")
	p := &asked{deny: broker.RxKey, no: no}
	k := keyPolicy{allow: p.allow}
	_, _, err := k.Do(t.Context(), connector.From{}, rxmsg.Header{Op: rxmsg.OpKeyLast}, nil)
	assert.ErrorIs(t, err, no, "one that is not known is not let through")
	_, err = k.Key(t.Context(), connector.From{}, 1)
	assert.ErrorIs(t, err, no)
	s := keySource{may: func() error { return no }}
	_, err = s.RequestKey("x")
	assert.ErrorIs(t, err, no)
	_, err = s.RequestKeyring("x")
	assert.ErrorIs(t, err, no)
}
