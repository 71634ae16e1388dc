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

// TestKernels boots each kernel, makes calls inside of it, and between it and
// OpenAFS's Rx library, both ways.
func TestKernels(t *testing.T) {
	for _, flavour := range []string{kernel.Oldest, kernel.Stable, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour})
			t.Run("alone", func(t *testing.T) { kernelToKernel(t, vm) })
			t.Run("with rxpeer", func(t *testing.T) { kernelAndPeer(t, vm) })
		})
	}
}

func kernelToKernel(t *testing.T, vm rig.Machine) {
	vm.Serve(t, "listening", "kx server")
	for _, level := range []string{"none", "plain", "auth", "encrypt"} {
		assert.Contains(t, vm.Must(t, "kx client -n 5 -size 100 -level "+level), "ok=5 bad=0")
	}
	vm.Must(t, "kx client -op abrt -size 4711 -want-abort 4711")
	out, status := vm.Run(t, "kx client -op abrt -size 4711 -want-abort 4712")
	assert.Equal(t, 1, status, out)
	vm.Must(t, "kx client -level auth -bad-ticket -want-abort 19270407")
}

func kernelAndPeer(t *testing.T, vm rig.Machine) {
	vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind [::]:7019")
	peer := rig.Peer(t, netip.AddrPortFrom(vm.Host(), 7900))
	to := fmt.Sprintf("kx client -to %v -svc 4242 -kvno 3 ", peer.Addr)
	at := vm.Port(7019)
	assert.Contains(t, rig.RxDebug(t, at, "-version"), "AF_RXRPC")
	for mine, its := range map[string]string{"null": "none", "clear": "plain", "auth": "auth", "crypt": "encrypt"} {
		rig.PeerMust(t, at, "-level", mine, ticket(), "-size 3000 echo")
		rig.PeerMust(t, at, "-level", mine, ticket(), "-bytes 100000 -verify source")
		rig.PeerMust(t, at, "-level", mine, ticket(), "-bytes 100000 -verify sink")
		vm.Must(t, to+"-op rxecho -size 3000 -level "+its)
		vm.Must(t, to+"-op source -size 100000 -level "+its)
		vm.Must(t, to+"-op sink -size 100000 -level "+its)
	}
	assert.EqualValues(t, 4711, rig.PeerClient(t, at, "fail 4711").Code)
	vm.Must(t, to+"-op fail -size 4711 -want-abort 4711")
	refused, status := vm.Run(t, fmt.Sprintf("kx client -to %v:7999 -svc 1 -op nop", vm.Host()))
	assert.Equal(t, 1, status)
	assert.Contains(t, refused, "NET_ERROR 111")
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
