package main

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
)

// against runs f as the program does, but on a port that is free.
func against(t *testing.T, f func(context.Context, io.Writer, *rxrpc.Client) error) string {
	t.Helper()
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	require.NoError(t, s.Handle(afs.VLService, afsrx.Handler(volumes(e.LocalAddr().Addr()).Service())))
	var out bytes.Buffer
	require.NoError(t, f(t.Context(), &out, e.Client(e.LocalAddr(), nil)))
	return out.String()
}

func TestList(t *testing.T) {
	assert.Equal(t, `root.afs                 536870912  127.0.0.1 /vicepa RW  127.0.0.1 /vicepa RO
root.cell                536870915  127.0.0.1 /vicepa RW  127.0.0.1 /vicepa RO
user.joe                 536870918  127.0.0.1 /vicepb RW
`, against(t, list))
}

func TestServers(t *testing.T) {
	assert.Equal(t, "127.0.0.1 \n", against(t, servers))
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"list"}, {"list", "nowhere"}, {"dance", "127.0.0.1"}} {
		assert.Error(t, run(t.Context(), io.Discard, args))
	}
}
