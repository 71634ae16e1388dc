package facetest

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// soon is a context that ends long after everything should have happened.
func soon(t *T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var (
	local4 = netip.MustParseAddrPort("127.0.0.1:0")
	local6 = netip.MustParseAddrPort("[::1]:0")
)

// open makes an endpoint that is closed at the end of the test.
func open(t *T, local netip.AddrPort, cfg *rxrpc.Config) *rxrpc.Endpoint {
	t.Helper()
	e, err := t.f.Open(t.T, local, cfg)
	require.NoError(t, err)
	return e
}

// serve serves handlers by their service on an endpoint of its own.
func serve(t *T, cfg *rxrpc.ServerConfig, handlers map[uint16]rxrpc.Handler) *rxrpc.Server {
	t.Helper()
	s := rxrpc.NewServer(open(t, local4, nil), cfg)
	for id, h := range handlers {
		require.NoError(t, s.Handle(id, h))
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client returns a client of s on an endpoint of its own.
func client(t *T, s *rxrpc.Server, cfg *rxrpc.ClientConfig) *rxrpc.Client {
	t.Helper()
	return open(t, local4, nil).Client(s.Endpoint().LocalAddr(), cfg)
}

// echo sends the request back.
var echo = rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
	return append(dst, request...), nil
})

// echoStream reads all, then sends it back.
var echoStream = rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
	b, err := io.ReadAll(call)
	if err != nil {
		return err
	}
	_, err = call.Write(b)
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
