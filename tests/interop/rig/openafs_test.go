//go:build linux

package rig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestOpenAFSToOpenAFS shows that each kind of cell works with its own commands,
// and that it tells callers with the right key from others.
func TestOpenAFSToOpenAFS(t *testing.T) {
	for _, mode := range []openafs.Mode{openafs.NoAuth, openafs.Auth, openafs.K5, openafs.Both} {
		t.Run(string(mode), func(t *testing.T) {
			cell := rig.OpenAFS(t, openafs.CellConfig{Mode: mode})
			auth, addr := cell.AuthFlag(), cell.Addr.String()
			assert.Contains(t, cell.Must(t, "vos", "listvldb", auth), "Total entries: 0")
			assert.Regexp(t, `User u1 has id \d+`, cell.Must(t, "pts", "createuser", "u1", auth))
			assert.Contains(t, cell.Must(t, "pts", "listentries", auth), "u1")
			assert.Contains(t, cell.Must(t, "bos", "status", addr, auth), "vlserver, currently running normally")
			assert.Contains(t, rig.UDebug(t, cell.AddrPort(openafs.VLPort)), "I am sync site")
			for _, port := range []uint16{openafs.PTPort, openafs.VLPort, openafs.BosPort} {
				assert.Contains(t, rig.RxDebug(t, cell.AddrPort(port), "-version"), "AFS version: OpenAFS 1.8")
			}
			if mode != openafs.NoAuth {
				refused := cell.Run(t, "pts", "createuser", "u2", "-noauth")
				assert.NotZero(t, refused.Exit)
				assert.Contains(t, refused.Err, "Permission denied")
			}
			levels(t, cell)
		})
	}
}

// levels makes a call that needs a superuser with rxpeer and tickets of its own, at
// each level.
func levels(t *testing.T, cell rig.Cell) {
	const newVolumeID = "raw 000001f900000001"
	vl := cell.AddrPort(openafs.VLPort)
	rig.PeerMust(t, vl, "-service 52 raw 00000202") // VL_ProbeServer
	assert.EqualValues(t, -455, rig.PeerClient(t, vl, "-service 52 raw 0000ffff").Code)
	assert.EqualValues(t, -2, rig.PeerClient(t, vl, "-service 99 -dead 5 raw 00000202").Code)
	for _, level := range []string{"clear", "auth", "crypt"} {
		if cell.Mode == openafs.Auth || cell.Mode == openafs.Both {
			c := rig.PeerMust(t, vl, "-service 52 -name afs -level", level, newVolumeID)
			assert.Len(t, c.Reply, 4)
		}
		if cell.Mode == openafs.K5 || cell.Mode == openafs.Both {
			key := fmt.Sprintf("-k5key %s -k5type %d -kvno %d", openafs.AESKey, openafs.AESType, openafs.AESKeyVersion)
			rig.PeerMust(t, vl, "-service 52 -name afs -level", level, key, newVolumeID)
		}
	}
	if cell.Mode == openafs.Auth {
		assert.EqualValues(t, 19270408, rig.PeerClient(t, vl, "-service 52 -name afs -level clear -kvno 9", newVolumeID).Code)
		assert.EqualValues(t, 363546, rig.PeerClient(t, vl, "-service 52 -name joe -level clear", newVolumeID).Code)
	}
}

// TestFileServer moves a volume through the servers of a cell, and a file through
// its bosserver.
func TestFileServer(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{Mode: openafs.Auth, FileServer: true})
	addr := cell.Addr.String()
	cell.Must(t, "vos", "create", addr, "a", "vol1", "-localauth")
	dump := filepath.Join(t.TempDir(), "dump")
	cell.Must(t, "vos", "dump", "vol1", "-file", dump, "-localauth")
	assert.Contains(t, cell.Must(t, "vos", "restore", addr, "a", "vol2", dump, "-localauth", "-encrypt"), "Restored volume")
	assert.Regexp(t, `(?s)vol1 .*vol2 .*Total entries: 2`, cell.Must(t, "vos", "listvldb", "-localauth"))

	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	require.NoError(t, os.WriteFile(filepath.Join(t.TempDir(), "x"), text, 0o644))
	file := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(file, text, 0o644))
	assert.Contains(t, cell.Must(t, "bos", "getlog", addr, file, "-localauth"), string(text))
}

// TestCommandsElsewhere shows that the commands go to the server they are told:
// a cell's, but with another configuration than the cell's own.
func TestCommandsElsewhere(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{Mode: openafs.Auth})
	right := rig.OpenAFSCommands(t, cell.Addr, openafs.DESKey())
	assert.Contains(t, right.Must(t, "vos", "listvldb", "-localauth"), "Total entries: 0")
	wrong := rig.OpenAFSCommands(t, cell.Addr, []byte("\xfe\xdc\xba\x98\x76\x54\x32\x10"))
	assert.NotZero(t, wrong.Run(t, "pts", "createuser", "u1", "-localauth").Exit)
}
