package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
)

// TestList: a server with its own socket, and a list of it through an agent. In tests/interop the server is OpenAFS's, and the
// agent that of cnbus serve.
func TestList(t *testing.T) {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	here := afs.Site{Flags: afs.SiteReadWrite}
	db := &afs.VLDB{
		Servers: []afs.Server{{UUID: [16]byte{1}, Unique: 1, Addrs: []netip.Addr{e.LocalAddr().Addr()}}},
		Volumes: []afs.Volume{
			{Name: "root.cell", ID: [3]uint32{536870915, 536870916, 536870917}, Flags: afs.HasReadWrite | afs.HasReadOnly, Sites: []afs.Site{here, {Partition: 1, Flags: afs.SiteReadOnly}}},
			{Name: "user.joe", ID: [3]uint32{536870918, 536870919, 536870920}, Flags: afs.HasReadWrite, Sites: []afs.Site{here}},
		},
	}
	require.NoError(t, s.Handle(afs.VLService, afsrx.Handler(db.Service())))

	hub := loopback.New(nil)
	there, here2 := hub.Open(), hub.Open()
	defer there.Close()
	defer here2.Close()
	agent, err := rxagent.New(t.Context(), there, &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}})
	require.NoError(t, err)
	defer agent.Close()
	var out strings.Builder
	require.NoError(t, list(t.Context(), here2, &out, e.LocalAddr(), true))
	lines := strings.Split(out.String(), "\n")
	require.Len(t, lines, 3, "%q", out.String())
	assert.Equal(t, []string{"root.cell", "536870915", "536870916", "536870917", "RW", "127.0.0.1/vicepa", "RO", "127.0.0.1/vicepb"}, strings.Fields(lines[0]))
	assert.Equal(t, []string{"user.joe", "536870918", "536870919", "536870920", "RW", "127.0.0.1/vicepa"}, strings.Fields(lines[1]))

	// A server that there is not.
	require.NoError(t, e.Close())
	require.Error(t, list(t.Context(), here2, &out, e.LocalAddr(), false))
}

func TestArguments(t *testing.T) {
	at, err := serverOf([]string{"192.0.2.1"})
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1:7003", at.String())
	at, err = serverOf([]string{"192.0.2.1:7103"})
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.1:7103", at.String())
	for _, args := range [][]string{nil, {"nowhere"}, {"192.0.2.1", "192.0.2.2"}} {
		_, err := serverOf(args)
		require.Error(t, err)
	}
}
