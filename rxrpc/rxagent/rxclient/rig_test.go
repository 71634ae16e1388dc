package rxclient_test

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// soon is a context that ends long after everything should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// site is a bus with an agent on it.
type site struct {
	open func(t testing.TB) connector.Bus // a process's bus; the test closes it
	keys *keys
}

// agentConfig is of an agent whose ports are free at once when nobody uses them.
func agentConfig(k *keys) *rxagent.Config {
	return &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}, MaxBacklog: 128, Keys: k}
}

// within is a site within this process.
func within(t testing.TB) *site {
	t.Helper()
	hub := loopback.New(nil)
	s := &site{keys: newKeys(), open: func(testing.TB) connector.Bus { return hub.Open() }}
	startAgent(t, hub.Open(), s.keys)
	return s
}

func startAgent(t testing.TB, bus connector.Bus, k *keys) *rxagent.Agent {
	t.Helper()
	a, err := rxagent.New(soon(t), bus, agentConfig(k))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = a.Close()
		_ = bus.Close()
	})
	return a
}

// conn is a process of the site.
func (s *site) conn(t testing.TB) *rxclient.Conn {
	t.Helper()
	bus := s.open(t)
	c, err := rxclient.Dial(soon(t), bus, nil)
	if err != nil {
		_ = bus.Close()
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = c.Close()
		_ = bus.Close()
	})
	return c
}

// faces are those of a site: each endpoint and each socket is a process's of its own.
type faces struct{ s *site }

func (f faces) Open(t testing.TB, local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	e, err := f.s.conn(t).Open(local, cfg)
	if err == nil {
		t.Cleanup(func() { _ = e.Close() })
	}
	return e, err
}

func (f faces) NewSocket(t testing.TB, family int, cfg *rxrpc.SocketConfig) (facetest.Socket, error) {
	c := f.s.conn(t)
	var own rxclient.SocketConfig
	if cfg != nil {
		own.BusyEnds = cfg.BusyEnds
		f.s.keys.set(c.Port(), cfg.Keys)
	}
	s, err := c.NewSocket(family, &own)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, nil
}

func (f faces) Security(_ testing.TB, k rxrpc.KeySource) facetest.Security {
	f.s.keys.set(0, k)
	return named{}
}

type named struct{}

func (named) Client(description string, level rxkad.Level) rxrpc.ClientSecurity {
	return rxclient.NamedKey(description).At(level)
}

func (named) Server(ring string) []rxrpc.ServerSecurity {
	return []rxrpc.ServerSecurity{rxclient.NamedKeyring(ring)}
}

// keys are those of an agent, by the ports of its clients; 0: of the others.
type keys struct {
	mu sync.Mutex
	m  map[uint32]rxrpc.KeySource
}

func newKeys() *keys { return &keys{m: make(map[uint32]rxrpc.KeySource)} }

func (k *keys) set(port uint32, s rxrpc.KeySource) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m[port] = s
}

func (k *keys) Source(who connector.From) rxrpc.KeySource {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.m[who.Port]; s != nil {
		return s
	}
	return k.m[0]
}

func (k *keys) Key(context.Context, connector.From, uint32) (rxrpc.ClientKey, error) {
	return nil, errno.NoKey
}

func (k *keys) Do(context.Context, connector.From, rxmsg.Header, []byte) (uint32, []byte, error) {
	return 0, nil, errno.NoKey
}

func (k *keys) Gone(connector.From) {}

var local4 = netip.MustParseAddrPort("127.0.0.1:0")

// echo sends the request back.
var echo = rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
	return append(dst, request...), nil
})

// echoStream reads all, then sends it back.
var echoStream = rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
	b, err := io.ReadAll(call)
	if err == nil {
		_, err = call.Write(b)
	}
	return err
})

// pattern returns n bytes that are not the same anywhere near each other.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>8*7 + i>>16)
	}
	return b
}
