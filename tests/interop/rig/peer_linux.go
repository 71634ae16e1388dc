package rig

import (
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tests/interop/openafs"
)

// Loopback is the address that peers and tests have unless they are told
// otherwise.
var Loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// needPeer skips the test if rxpeer can be neither found nor built.
func needPeer(t testing.TB) {
	t.Helper()
	needOpenAFS(t)
	for _, tool := range []string{"make", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Skip(t, "rxpeer is to be built: "+err.Error())
		}
	}
}

// Peer starts rxpeer as a server and stops it at the end of the test. The zero
// addr is a free port of Loopback. The options are rxpeer's: "-nojumbo",
// "-minlevel auth", "-dropsend 5", "-reach".
//
// It answers service openafs.PeerService without security, and with rxkad of tickets
// that are sealed with openafs.Key.
func Peer(t testing.TB, addr netip.AddrPort, options ...string) *openafs.Peer {
	t.Helper()
	needPeer(t)
	if !addr.IsValid() {
		addr = netip.AddrPortFrom(Loopback, 0)
	}
	p, err := openafs.StartPeer(patient(t), addr, words(options)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// PeerClient runs rxpeer as a client of addr: PeerClient(t, addr, "-level crypt",
// "echo"). The test fails if it does not end within Patience or got a wrong
// answer; what the call ended with is in the Code.
func PeerClient(t testing.TB, addr netip.AddrPort, args ...string) openafs.Call {
	t.Helper()
	needPeer(t)
	c, err := openafs.CallPeer(patient(t), addr, words(args)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// PeerMust runs rxpeer as a client whose calls must succeed.
func PeerMust(t testing.TB, addr netip.AddrPort, args ...string) openafs.Call {
	t.Helper()
	c := PeerClient(t, addr, args...)
	if c.Code != 0 {
		t.Fatalf("code %d: %v", c.Code, c.Result)
	}
	return c
}

// words lets an option and its value be written as one string.
func words(args []string) []string { return strings.Fields(strings.Join(args, " ")) }

func portOf(a netip.AddrPort) string { return strconv.Itoa(int(a.Port())) }
