//go:build linux

package goface_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/openafs"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// Operations of OpenAFS's services.
const (
	vlProbeServer    = 514
	vlListAttributes = 511
	vlGetNewVolumeID = 505
)

// TestOpenAFSServersAnswer calls every server of a cell.
func TestOpenAFSServersAnswer(t *testing.T) {
	cell := rig.OpenAFS(t, openafs.CellConfig{})
	vl := dial(t, cell.AddrPort(openafs.VLPort), nil)
	reply, err := vl.Call(soon(t), openafs.VLService, words(vlProbeServer))
	require.NoError(t, err)
	assert.Empty(t, reply)

	// An operation that there is not, and a service that there is not.
	_, err = vl.Call(soon(t), openafs.VLService, words(65535))
	require.ErrorIs(t, err, rxrpc.Abort(rxrpc.BadOpcode))
	_, err = vl.Call(soon(t), 99, words(vlProbeServer))
	require.ErrorIs(t, err, rxrpc.Abort(rxrpc.InvalidOperation))

	// Everybody may do everything in a cell without keys: the next volume id is
	// raised by as many as are asked for.
	first, err := vl.Call(soon(t), openafs.VLService, words(vlGetNewVolumeID, 7))
	require.NoError(t, err)
	require.Len(t, first, 4)
	second, err := vl.Call(soon(t), openafs.VLService, words(vlGetNewVolumeID, 1))
	require.NoError(t, err)
	assert.Equal(t, binary.BigEndian.Uint32(first)+7, binary.BigEndian.Uint32(second))

	// An empty database.
	reply, err = vl.Call(soon(t), openafs.VLService, words(vlListAttributes, 0, 0, 0, 0, 0, 0))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(reply), 8)
	assert.Zero(t, binary.BigEndian.Uint32(reply), "entries")

	for port, service := range map[uint16]uint16{openafs.PTPort: openafs.PTService, openafs.BosPort: openafs.BosService} {
		_, err := dial(t, cell.AddrPort(port), nil).Call(soon(t), service, words(65535))
		require.ErrorIs(t, err, rxrpc.Abort(rxrpc.BadOpcode), "port %d", port)
	}
}
