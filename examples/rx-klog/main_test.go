package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A KDC, a server that has its key from it, and the program between them.
func TestKlogAndCall(t *testing.T) {
	k := testkdc.Start(t, "EXAMPLE.TEST")
	k.AddUser(t, "joe", "secret")
	keys := keyring.Keytab(k.AddService(t, "afs/example.test"))
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	s := rxrpc.NewServer(e, &rxrpc.ServerConfig{
		Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: keys, MinLevel: rxkad.Encrypt})}, Secured: true,
	})
	defer s.Close()
	require.NoError(t, s.Handle(7, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return fmt.Appendf(dst, "%v says %s", call.Security().Peer, request), nil
	})))
	var out bytes.Buffer
	cfg := klog.Config{Cell: "example.test", Conf: k.Conf, Cache: k.Init(t, "joe", "secret")}
	require.NoError(t, run(t.Context(), &out, cfg, e.LocalAddr().String(), 7, "hello"))
	assert.Regexp(t, "^joe@EXAMPLE.TEST for afs/example.test@EXAMPLE.TEST\njoe@(?i:example.test) says hello\n$", out.String())
}
