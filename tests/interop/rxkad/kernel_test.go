//go:build linux

package rxkad_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/kernel"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// kernelNames are the names of the levels, as kx has them.
var kernelNames = map[rxkad.Level]string{rxkad.Plain: "plain", rxkad.Auth: "auth", rxkad.Encrypt: "encrypt"}

// TestKernel: the oldest and the newest kernel as client and as server, with tickets of Kerberos 4, the only
// ones that a kernel's server takes.
func TestKernel(t *testing.T) {
	for _, flavour := range []string{kernel.Oldest, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour})
			t.Run("kernel client", func(t *testing.T) { kernelCallsUs(t, vm) })
			t.Run("kernel server", func(t *testing.T) { weCallKernel(t, vm) })
		})
	}
}

func kernelCallsUs(t *testing.T, vm rig.Machine) {
	addr := serve(t, netip.AddrPortFrom(vm.Host(), 0), rxkad.ServerConfig{}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}})
	strict := serve(t, netip.AddrPortFrom(vm.Host(), 0), rxkad.ServerConfig{MinLevel: rxkad.Encrypt}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}})
	kx := func(to netip.AddrPort, l rxkad.Level, args string) string {
		return fmt.Sprintf("kx client -to %v -svc 4242 -kvno 3 -level %s %s", to, kernelNames[l], args)
	}
	for _, l := range levels {
		t.Run(l.String(), func(t *testing.T) {
			vm.Must(t, kx(addr, l, "-op nop -n 10 -c 2"))
			for _, size := range []int{0, 1, 1411, 1412, 1413, 30000} {
				vm.Must(t, kx(addr, l, fmt.Sprintf("-op rxecho -size %d", size)))
			}
			vm.Must(t, kx(addr, l, "-op source -size 100000"))
			vm.Must(t, kx(addr, l, "-op sink -size 100000"))
			vm.Must(t, kx(addr, l, "-op fail -size 4711 -want-abort 4711"))
			vm.Must(t, kx(addr, l, fmt.Sprintf("-op nop -bad-ticket -want-abort %d", rxkad.BadTicket)))
			vm.Must(t, kx(addr, l, fmt.Sprintf("-op nop -age 700s -life 1 -want-abort %d", rxkad.Expired)))
			vm.Must(t, fmt.Sprintf("kx client -to %v -svc 4242 -kvno 9 -level %s -op nop -want-abort %d", addr, kernelNames[l], rxkad.UnknownKey))
			switch {
			case l == rxkad.Encrypt:
				vm.Must(t, kx(strict, l, "-op nop"))
			case !strings.HasPrefix(vm.Release, "6.1."): // which is silent when it is asked for a higher level
				vm.Must(t, kx(strict, l, fmt.Sprintf("-op nop -want-abort %d", rxkad.LevelFail)))
			}
		})
	}
}

func weCallKernel(t *testing.T, vm rig.Machine) {
	vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind 0.0.0.0:7009")
	addr := netip.AddrPortFrom(vm.Addr(), 7009)
	now := uint32(time.Now().Unix())
	// The guest's clock may be a second behind, and the kernel allows for none.
	good := rxkad.TicketRequest{Name: "tester", Cell: "rig.test", Begins: now - 60, Expires: now + 36000}
	for _, l := range levels {
		t.Run(l.String(), func(t *testing.T) {
			c := dial(t, addr, secured(t, print4(t, good), l))
			for x := range uint32(10) {
				_, err := c.Do(soon(t), rxp.Nop, x)
				require.NoError(t, err)
			}
			for _, size := range []int{0, 1, 1411, 1412, 1413, 30000} {
				require.NoError(t, c.Echo(soon(t), make([]byte, size)), "%d bytes", size)
			}
			require.NoError(t, c.Sink(soon(t), 100_000, true))
			require.NoError(t, c.Source(soon(t), 100_000, true))
			_, err := c.Do(soon(t), rxp.Fail, 4711)
			require.ErrorIs(t, err, rxrpc.Abort(4711))

			other, err := rxkad.PrintTicket4(rxkad.NewKey([]byte("\xfe\xdc\xba\x98\x76\x54\x32\x10")), 3, good)
			require.NoError(t, err)
			_, err = dial(t, addr, secured(t, other, l)).Do(soon(t), rxp.Nop, 1)
			require.ErrorIs(t, err, rxrpc.Abort(int32(rxkad.BadTicket)))
			late := good
			late.Begins, late.Expires = now-7200, now-3600
			expired := print4(t, late)
			expired.Expires = rxkad.Never // else our client would not even try
			_, err = dial(t, addr, secured(t, expired, l)).Do(soon(t), rxp.Nop, 1)
			require.ErrorIs(t, err, rxrpc.Abort(int32(rxkad.Expired)))
		})
	}
}
