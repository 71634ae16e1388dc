package rxmsg_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

var secured = rxrpc.SecurityInfo{
	Type: 3, Level: 2, Authenticated: true, Expires: 2000,
	Peer: &rxkad.Identity{Name: "joe", Instance: "admin", Cell: "example.org", Level: 2, Version: 5, EncType: 18, Begins: 1000, Expires: 2000},
}

// TestSecurityTravelsWithControlMessages that do not know of it.
func TestSecurityTravelsWithControlMessages(t *testing.T) {
	longest := secured
	longest.Peer = &rxkad.Identity{Name: strings.Repeat("n", 255), Instance: strings.Repeat("i", 255), Cell: strings.Repeat("c", 255), Level: 2}
	unknown := rxrpc.SecurityInfo{Type: 4, Level: 1, Authenticated: true, Expires: 7}
	for _, i := range []rxrpc.SecurityInfo{secured, longest, unknown, {Type: 1}} {
		ctl := rxrpc.Control{CallID: 7, HasCallID: true}
		before := ctl.AppendRaw(nil)
		raw := rxmsg.AppendSecurity(before, &i)
		assert.Zero(t, len(raw)%8)
		assert.LessOrEqual(t, len(raw)-len(before), rxmsg.MaxSecurity)
		got, err := rxrpc.ParseReceivedControl(raw)
		require.NoError(t, err)
		assert.Equal(t, ctl, got)
		who, ok := rxmsg.FindSecurity(raw)
		require.True(t, ok)
		assert.Equal(t, i, who)
		for n := range len(raw) - 8 {
			_, ok := rxmsg.FindSecurity(raw[:n])
			assert.False(t, ok, "cut to %d bytes", n)
		}
		_, ok = rxmsg.FindReason(raw)
		assert.False(t, ok)
	}
}

// TestNamesAreNotCut: somebody whose name does not fit is nobody, and not who has the beginning of it.
func TestNamesAreNotCut(t *testing.T) {
	for _, id := range []rxkad.Identity{{Name: strings.Repeat("n", 256)}, {Name: "n", Instance: strings.Repeat("i", 256)}, {Name: "n", Cell: strings.Repeat("c", 256)}} {
		i := secured
		i.Peer = &id
		raw := rxmsg.AppendSecurity(nil, &i)
		assert.LessOrEqual(t, len(raw), rxmsg.MaxSecurity)
		who, ok := rxmsg.FindSecurity(raw)
		require.True(t, ok)
		assert.False(t, who.Authenticated)
		assert.Nil(t, who.Peer)
	}
}

// FuzzFindSecurity: nothing makes it panic, and what it has found is the same when it is written again.
func FuzzFindSecurity(f *testing.F) {
	ctl := rxrpc.Control{CallID: 7, HasCallID: true}
	f.Add(rxmsg.AppendSecurity(ctl.AppendRaw(nil), &secured))
	f.Add(rxmsg.AppendSecurity(nil, &secured)[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		i, ok := rxmsg.FindSecurity(b)
		if !ok {
			return
		}
		raw := rxmsg.AppendSecurity(nil, &i)
		require.LessOrEqual(t, len(raw), rxmsg.MaxSecurity)
		again, ok := rxmsg.FindSecurity(raw)
		require.True(t, ok)
		require.Equal(t, i, again)
	})
}
