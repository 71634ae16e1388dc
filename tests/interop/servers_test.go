//go:build linux

package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestWeAskOpenAFS calls the servers of a real cell: small calls, replies of many
// packets, and files of many megabytes each way.
func TestWeAskOpenAFS(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{FileServer: true})
	addr := cell.Addr.String()
	for _, name := range []string{"vol.one", "vol.two"} {
		cell.Must(t, "vos", "create", addr, "a", name, "-noauth")
	}
	vl := dial(t, cell.AddrPort(openafs.VLPort), nil).Client
	pr := dial(t, cell.AddrPort(openafs.PTPort), nil).Client
	bos := dial(t, cell.AddrPort(openafs.BosPort), nil).Client

	t.Run("vlserver", func(t *testing.T) {
		_, err := afsrx.Call[afs.None](soon(t), vl, afs.VLService, afs.VLProbeServer, afs.None{})
		require.NoError(t, err)
		all, err := afsrx.Call[afs.ListResult](soon(t), vl, afs.VLService, afs.VLListAttributes, afs.Attributes{})
		require.NoError(t, err)
		require.EqualValues(t, 2, all.Count)
		assert.Equal(t, "vol.one", all.Entries[0].Name.String())
		_, err = afsrx.Call[afs.VolumeEntry](soon(t), vl, afs.VLService, afs.VLGetEntryByNameN, afs.NameArgs{Name: "none"})
		require.ErrorIs(t, err, rxrpc.Abort(int32(afs.VLNoEntry)))
		assert.Contains(t, err.Error(), "VL_NOENT")
		state, err := afsrx.Call[afs.VoteXDebug](soon(t), vl, afs.VOTEService, afs.VOTEXDebug, afs.None{})
		require.NoError(t, err)
		assert.EqualValues(t, afs.Recovered, state.RecoveryState)
	})
	t.Run("ptserver", func(t *testing.T) {
		for i := range 150 { // the list of them needs dozens of packets
			_, err := afsrx.Call[afs.Int32](soon(t), pr, afs.PRService, afs.PRNewEntry, afs.NewEntryArgs{Name: "user" + decimal(i)})
			require.NoError(t, err)
		}
		_, err := afsrx.Call[afs.Int32](soon(t), pr, afs.PRService, afs.PRNewEntry, afs.NewEntryArgs{Name: "user7"})
		require.ErrorIs(t, err, rxrpc.Abort(int32(afs.PRExists)))
		names := map[string]bool{}
		for next := int32(0); next >= 0; {
			r, err := afsrx.Call[afs.ListEntriesResult](soon(t), pr, afs.PRService, afs.PRListEntries, afs.ListEntriesArgs{Flags: afs.ListUsers, Start: next})
			require.NoError(t, err)
			for _, e := range r.Entries {
				names[e.Name.String()] = true
			}
			if next = r.Next; next == 0 {
				break
			}
		}
		assert.True(t, names["user0"] && names["user149"], "%d names", len(names))
	})
	t.Run("bosserver", func(t *testing.T) {
		name, err := afsrx.Call[afs.String](soon(t), bos, afs.BOZOService, afs.BOZOEnumerateInstance, afs.Int32{Value: 0})
		require.NoError(t, err)
		assert.Equal(t, "vlserver", name.Value)

		content := bytes.Repeat([]byte("twenty megabytes of text each way\n"), 20_000_000/34)
		request, err := afs.Request(afs.BOZOInstall, afs.InstallArgs{Path: "/installed", Size: int32(len(content)), Mode: 0o644, Time: 1_700_000_000})
		require.NoError(t, err)
		_, err = bos.Call(soon(t), afs.BOZOService, append(request, content...))
		require.NoError(t, err)
		got, err := os.ReadFile(cell.File("installed"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got))

		request, err = afs.Request(afs.BOZOGetLog, afs.String{Value: "/installed"})
		require.NoError(t, err)
		got, err = bos.Call(soon(t), afs.BOZOService, request)
		require.NoError(t, err)
		require.True(t, bytes.Equal(append(content, 0), got))
	})
	t.Run("the program", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), "afs-vl")
		out, err := exec.CommandContext(soon(t), "go", "build", "-o", program, "github.com/cnbus/cnbus/examples/afs-vl").CombinedOutput()
		require.NoError(t, err, "%s", out)
		out, err = exec.CommandContext(soon(t), program, "list", addr).CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, 2, strings.Count(string(out), addr+" /vicepa RW"), "%s", out)
		out, err = exec.CommandContext(soon(t), program, "servers", addr).CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, addr+" \n", string(out))
	})
}
