//go:build linux

package rig_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/tests/interop/kernel"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

// TestKernelToKernel makes calls inside a machine.
func TestKernelToKernel(t *testing.T) {
	for _, flavour := range []string{kernel.Oldest, kernel.Stable, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour, Network: kernel.None})
			vm.Serve(t, "listening", "kx server")
			for _, level := range []string{"none", "plain", "auth", "encrypt"} {
				assert.Contains(t, vm.Must(t, "kx client -n 5 -size 100 -level "+level), "ok=5 bad=0")
			}
			vm.Must(t, "kx client -op abrt -size 4711 -want-abort 4711")
			out, status := vm.Run(t, "kx client -op abrt -size 4711 -want-abort 4712")
			assert.Equal(t, 1, status, out)
			vm.Must(t, "kx client -level auth -bad-ticket -want-abort 19270407")
		})
	}
}

// TestKernelAndPeer makes calls between a kernel and OpenAFS's Rx library, both
// ways, over a network between the two.
func TestKernelAndPeer(t *testing.T) {
	for _, flavour := range []string{kernel.Oldest, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour})
			vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind [::]:7009")
			peer := rig.Peer(t, netip.AddrPortFrom(vm.Host(), 7900))
			to := fmt.Sprintf("kx client -to %v -svc 4242 -kvno 3 ", peer.Addr)
			assert.Contains(t, rig.RxDebug(t, vm.Port(7009), "-version"), "AF_RXRPC")
			for mine, its := range map[string]string{"null": "none", "clear": "plain", "auth": "auth", "crypt": "encrypt"} {
				rig.PeerMust(t, vm.Port(7009), "-level", mine, ticket(), "-size 3000 echo")
				rig.PeerMust(t, vm.Port(7009), "-level", mine, ticket(), "-bytes 100000 -verify source")
				rig.PeerMust(t, vm.Port(7009), "-level", mine, ticket(), "-bytes 100000 -verify sink")
				vm.Must(t, to+"-op rxecho -size 3000 -level "+its)
				vm.Must(t, to+"-op source -size 100000 -level "+its)
				vm.Must(t, to+"-op sink -size 100000 -level "+its)
			}
			assert.EqualValues(t, 4711, rig.PeerClient(t, vm.Port(7009), "fail 4711").Code)
			vm.Must(t, to+"-op fail -size 4711 -want-abort 4711")
			refused, status := vm.Run(t, fmt.Sprintf("kx client -to %v:7999 -svc 1 -op nop", vm.Host()))
			assert.Equal(t, 1, status)
			assert.Contains(t, refused, "NET_ERROR 111")
		})
	}
}

// ticket are the options for a ticket that the kernel takes.
func ticket() string {
	now := nowUnix()
	return fmt.Sprintf("-kvno 3 -start %d -end %d", now-60, now+36000)
}

// TestSlirp reaches a guest that has no device of the host's.
func TestSlirp(t *testing.T) {
	vm := rig.VM(t, kernel.Config{Network: kernel.Slirp, Forward: []uint16{7009}})
	vm.Serve(t, "listening", "kx server -rxp -svc 4242")
	rig.PeerMust(t, vm.Port(7009), "nop")
	peer := rig.Peer(t, netip.AddrPort{})
	vm.Must(t, fmt.Sprintf("kx client -to %s:%d -svc 4242 -op nop", kernel.SlirpHost, peer.Addr.Port()))
}
