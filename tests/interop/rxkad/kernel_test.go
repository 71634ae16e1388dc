//go:build linux

package rxkad_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/kernel"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// TestKernel: the kernel's AF_RXRPC as client and as server, with Kerberos 4 tickets: it knows no others.
func TestKernel(t *testing.T) {
	for _, flavour := range []string{kernel.Stable, kernel.Newest} {
		t.Run(flavour, func(t *testing.T) {
			vm := rig.VM(t, kernel.Config{Flavour: flavour})
			vm.Serve(t, "listening", "kx server -rxp -svc 4242 -bind [::]:7009")
			ours := serve(t, netip.AddrPortFrom(vm.Host(), 0), rxkad.ServerConfig{Lifetimes: rxkad.LinuxLifetimes, Skew: -1}, map[uint16]rxrpc.Handler{rxp.ID: &rxp.Service{}})
			for _, l := range levels {
				t.Run(l.String(), func(t *testing.T) {
					c := dial(t, vm.Port(7009), secured(t, print4(t, kernelTicket()), l))
					for _, n := range []int{0, 1, 100, 1408, 3000} {
						require.NoError(t, c.Echo(soon(t), bytes.Repeat([]byte("x"), n)), "%d bytes", n)
					}
					require.NoError(t, c.Sink(soon(t), 100_000, true))
					require.NoError(t, c.Source(soon(t), 100_000, true))

					to := fmt.Sprintf("kx client -to %v -svc %d -kvno 3 -level %v ", ours, rxp.ID, l)
					vm.Must(t, to+"-op rxecho -size 3000")
					vm.Must(t, to+"-op source -size 100000")
					vm.Must(t, to+"-op sink -size 100000")
					vm.Must(t, to+"-op fail -size 4711 -want-abort 4711")
				})
			}
			// A kernel's server, and ours, tell what is wrong with a ticket.
			wrong, err := rxkad.PrintTicket4(rxkad.NewKey([]byte("\xfe\xdc\xba\x98\x76\x54\x32\x10")), 3, kernelTicket())
			require.NoError(t, err)
			assert.EqualValues(t, rxkad.BadTicket, codeOf(t, vm.Port(7009), secured(t, wrong, rxkad.Encrypt)))
			vm.Must(t, fmt.Sprintf("kx client -to %v -svc %d -kvno 3 -level auth -bad-ticket -want-abort %d", ours, rxp.ID, rxkad.BadTicket))
			vm.Must(t, fmt.Sprintf("kx client -to %v -svc %d -kvno 9 -level auth -want-abort %d", ours, rxp.ID, rxkad.UnknownKey))
		})
	}
}

// kernelTicket is one whose life the kernel counts as everybody does.
func kernelTicket() rxkad.TicketRequest {
	now := time.Now()
	return rxkad.TicketRequest{Name: "tester", Cell: "EXAMPLE.COM", Begins: uint32(now.Add(-time.Minute).Unix()), Expires: uint32(now.Add(5 * time.Hour).Unix())}
}
