//go:build linux

package rxkad_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/internal/testkdc"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestTicketsOfARealKDC: MIT's KDC, a cell of OpenAFS keyed from it, and our client between the two, whose tickets both database servers
// take, encrypted: of a user who is in the cell's list of administrators, and of one who is not.
func TestTicketsOfARealKDC(t *testing.T) {
	rig.World(t)
	const password = "correct horse"
	k := testkdc.Start(t, openafs.Realm)
	k.AddUser(t, "admin", password)
	k.AddUser(t, "joe", password)
	cell := rig.OpenAFS(t, openafs.CellConfig{Mode: openafs.K5, Keytab: k.AddService(t, openafs.Principal), KeytabVersion: 1})
	cell.Must(t, "pts", "createuser", "admin", "-localauth")
	cell.Must(t, "pts", "adduser", "admin", "system:administrators", "-localauth")
	cell.Must(t, "bos", "adduser", cell.Addr.String(), "admin", "-localauth")

	denied := rxrpc.Abort(267269) // PRPERM
	list, err := afs.Request(afs.VLListAttributesN2, afs.ListN2Args{})
	require.NoError(t, err)
	for _, part := range []bool{false, true} {
		cred := func(cfg klog.Config) *klog.Credential {
			cfg.Cell, cfg.Conf, cfg.Part = openafs.CellName, k.Conf, part
			c, err := klog.Get(soon(t), cfg)
			require.NoError(t, err)
			return c
		}
		form := map[bool]string{false: "-whole", true: "-part"}[part]
		admin := cred(klog.Config{Principal: "admin", Password: password})
		for _, l := range levels {
			name := "by-admin-" + l.String() + form
			require.NoError(t, createUser(t, cell, secured(t, admin.Token, l), name))
			assert.Contains(t, cell.Must(t, "pts", "listentries", "-localauth"), name)
			_, err := dial(t, cell.AddrPort(openafs.VLPort), secured(t, admin.Token, l)).Call(soon(t), openafs.VLService, list)
			require.NoError(t, err)
		}
		joe := cred(klog.Config{Cache: k.Init(t, "joe", password)})
		assert.ErrorIs(t, createUser(t, cell, secured(t, joe.Token, rxkad.Encrypt), "by-joe"), denied)
	}

	// The key of another service is no good, and the server says so as it does.
	k.AddService(t, "afs/elsewhere")
	stranger, err := klog.Get(soon(t), klog.Config{Cell: "elsewhere", ServiceRealm: openafs.Realm, Conf: k.Conf, Principal: "admin", Password: password})
	require.NoError(t, err)
	assert.ErrorIs(t, createUser(t, cell, secured(t, stranger.Token, rxkad.Encrypt), "x"), rxrpc.Abort(rxkad.BadTicket.AbortCode()))

	t.Run("command", func(t *testing.T) { klogCommand(t, k, cell, password) })
	t.Run("through the bus", func(t *testing.T) { throughTheBus(t, k, cell, password) })
}

// klogCommand: what `cnbus rx klog` has left in a file.
func klogCommand(t *testing.T, k *testkdc.KDC, cell rig.Cell, password string) {
	bin := filepath.Join(t.TempDir(), "cnbus")
	out, err := exec.CommandContext(soon(t), "go", "build", "-o", bin, "github.com/cnbus/cnbus/cmd/cnbus").CombinedOutput()
	require.NoError(t, err, "%s", out)
	file := klog.File(filepath.Join(t.TempDir(), "key"))
	cmd := exec.CommandContext(soon(t), bin, "rx", "klog", "--cell", openafs.CellName, "--krb5-conf", k.Conf, "--cache", k.Init(t, "admin", password), "--file", string(file))
	cmd.Env = os.Environ()
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	store := keyring.New(keyring.Config{Sources: []keyring.Source{file}})
	me := keyring.Cred{UID: 1000}
	me.Ring, err = store.NewKeyring(me, "mine")
	require.NoError(t, err)
	id, err := store.Request(me, keyring.TypeClient, klog.Description(openafs.CellName), 0)
	require.NoError(t, err)
	security, err := store.Client(me, id, rxkad.Encrypt)
	require.NoError(t, err)
	require.NoError(t, createUser(t, cell, &rxrpc.ClientConfig{Security: security}, "by-command"))
	assert.Contains(t, cell.Must(t, "pts", "listentries", "-localauth"), "by-command")
}
