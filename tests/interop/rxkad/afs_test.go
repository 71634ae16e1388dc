//go:build linux

package rxkad_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// createUser asks ptserver for a user.
func createUser(t *testing.T, cell rig.Cell, cfg *rxrpc.ClientConfig, name string) error {
	t.Helper()
	request, err := afs.Request(afs.PRNewEntry, afs.NewEntryArgs{Name: name})
	require.NoError(t, err)
	_, err = dial(t, cell.AddrPort(openafs.PTPort), cfg).Call(soon(t), openafs.PTService, request)
	return err
}

// TestOurClientIsOpenAFSsSuperuser: with a ticket made of the cell's key, as -localauth has, our client creates
// users, at each level; without one, and with a ticket of somebody else, it does not.
func TestOurClientIsOpenAFSsSuperuser(t *testing.T) {
	for _, mode := range []openafs.Mode{openafs.Auth, openafs.K5, openafs.Both} {
		t.Run(string(mode), func(t *testing.T) {
			cell := rig.OpenAFS(t, openafs.CellConfig{Mode: mode})
			token := localAuth(t, cell)
			assert.Equal(t, mode != openafs.Auth, token.Version == rxkad.Kerberos5Part)
			for _, l := range levels {
				name := "user-" + l.String()
				require.NoError(t, createUser(t, cell, secured(t, token, l), name))
				assert.Contains(t, cell.Must(t, "pts", "listentries", "-localauth"), name)
			}
			denied := rxrpc.Abort(267269) // PRPERM
			assert.ErrorIs(t, createUser(t, cell, nil, "u1"), denied)
			r := rxkad.TicketRequest{Name: "joe"}
			joe, err := rxkad.PrintTicket4(desKey(), openafs.KeyVersion, r)
			if mode != openafs.Auth {
				joe, err = rxkad.PrintTicket5(aesKey(t), openafs.AESKeyVersion, openafs.AESType, r)
			}
			require.NoError(t, err)
			assert.ErrorIs(t, createUser(t, cell, secured(t, joe, rxkad.Encrypt), "u2"), denied)
		})
	}
}

// who remembers who made calls.
type who struct {
	mu   sync.Mutex
	seen map[string]int
}

func (w *who) saw(id *rxkad.Identity) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[fmt.Sprintf("%v %v %d", id, id.Level, id.Version)]++
	return nil
}

func (w *who) count(s string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[s]
}

func (w *who) handler(s *afs.Service) rxrpc.Handler {
	return rxrpc.Unary(func(ctx context.Context, call *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		info := call.Security()
		id, _ := info.Peer.(*rxkad.Identity)
		if id == nil || !info.Authenticated {
			return nil, rxkad.NoAuth
		}
		_ = w.saw(id)
		reply, err := s.Answer(ctx, request)
		var code afs.Code
		if errors.As(err, &code) {
			return nil, rxrpc.Abort(int32(code))
		}
		return append(dst, reply...), err
	})
}

// TestVosLocalauthAtOurServer: OpenAFS's own command proves itself to our server with the cell's key.
func TestVosLocalauthAtOurServer(t *testing.T) {
	w := &who{seen: map[string]int{}}
	db := &afs.VLDB{Volumes: []afs.Volume{{Name: "root.cell", ID: [3]uint32{536870912}}}}
	addr := serve(t, netip.AddrPortFrom(rig.Addr, openafs.VLPort), rxkad.ServerConfig{
		Authorize: func(i *rxkad.Identity) error {
			if !i.LocalAuth() {
				return rxkad.NoAuth
			}
			return nil
		},
	}, map[uint16]rxrpc.Handler{openafs.VLService: w.handler(db.Service())})
	cmds := rig.OpenAFSCommands(t, addr.Addr(), openafs.DESKey())
	assert.Contains(t, cmds.Must(t, "vos", "listvldb", "-localauth"), "root.cell")
	assert.Contains(t, cmds.Must(t, "vos", "listvldb", "-localauth", "-encrypt"), "root.cell")
	assert.NotZero(t, cmds.Run(t, "vos", "listvldb", "-noauth").Exit)
	stranger := rig.OpenAFSCommands(t, addr.Addr(), []byte{0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10})
	assert.NotZero(t, stranger.Run(t, "vos", "listvldb", "-localauth").Exit)
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Positive(t, w.seen["afs plain 3"], "%v", w.seen)
	assert.Positive(t, w.seen["afs encrypt 3"], "%v", w.seen)
	assert.Len(t, w.seen, 2)
}
