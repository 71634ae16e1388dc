//go:build linux

package busflag

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/internal/usernet"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// talk has one place on the carrier call another.
func talk(t *testing.T, c *Carrier, id cbid.ID) {
	t.Helper()
	one, err := c.Open(t.Context(), "one")
	require.NoError(t, err)
	defer one.Close()
	two, err := c.Open(t.Context(), "two")
	require.NoError(t, err)
	defer two.Close()
	require.NoError(t, one.AddCallback(t.Context(), id, "x", echo{}))
	ep, err := two.Endpoint(t.Context())
	require.NoError(t, err)
	defer ep.Close()
	ev, err := ep.Call(t.Context(), connector.Message{ID: id, Data: []byte("hi")}, connector.Dest{})
	require.NoError(t, err)
	assert.Equal(t, "hi", string(ev.Msg.Data))
}

func TestCarriers(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	own, err := ownBroker(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	sockets, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*", "cnbus.sock"))
	require.NoError(t, err)
	require.Len(t, sockets, 1)

	for spec, socket := range map[string]string{"loopback:": "", "unix:" + sockets[0]: "", "unix:": sockets[0], "": sockets[0]} {
		c, err := Open(t.Context(), spec, socket, slog.New(slog.DiscardHandler))
		require.NoError(t, err, spec)
		assert.True(t, c.Registry)
		talk(t, c, cbid.Make(0x123, 1))
		require.NoError(t, c.Close())
	}
	talk(t, own, cbid.Make(0x123, 1))
	require.NoError(t, own.Close())
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left behind")

	// One that was named and is not there is an error, not a reason to start another.
	_, err = Open(t.Context(), "", sockets[0], slog.New(slog.DiscardHandler))
	assert.True(t, cli.NoBroker(err), "%v", err)
}

// The places of site: are on two hosts by turns.
func TestSite(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	c, err := Open(t.Context(), "site:", "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	talk(t, c, cbid.Make(0x123, 1))
	hosts := map[uint32]bool{}
	for i := range 3 {
		b, err := c.On(i).Open(t.Context(), "x")
		require.NoError(t, err)
		ep, err := b.Endpoint(t.Context())
		require.NoError(t, err)
		hosts[connector.HostOf(ep.Port())] = true
		require.NoError(t, b.Close())
	}
	assert.Len(t, hosts, 2)
	assert.NotContains(t, hosts, uint32(0))
	require.NoError(t, c.Close())
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left behind")
}

func TestNetlink(t *testing.T) {
	usernet.Private(t, func(t *testing.T) {
		c, err := Open(t.Context(), "netlink:", "", slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		assert.False(t, c.Registry)
		talk(t, c, cbid.Make(14, 0x456))
		require.NoError(t, c.Close())
	})
}

func TestBadSpecs(t *testing.T) {
	for _, spec := range []string{"tcp:1", "loopback", "loopback:x", "netlink", "netlink:x", "site", "site:x", "unix", ":"} {
		_, err := Open(t.Context(), spec, "", slog.Default())
		var usage *cli.UsageError
		assert.ErrorAs(t, err, &usage, spec)
	}
}
