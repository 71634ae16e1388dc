//go:build linux

package rxkad_test

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tests/interop/rig"
)

// between stands between one client and a server and may change what the client sends. It returns its address.
func between(t testing.TB, server netip.AddrPort, edit func(b []byte)) netip.AddrPort {
	t.Helper()
	rig.World(t)
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(rig.Loopback, 0)))
	require.NoError(t, err)
	back, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server))
	require.NoError(t, err)
	t.Cleanup(func() { _ = front.Close(); _ = back.Close() })
	var client atomic.Pointer[netip.AddrPort]
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := front.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			client.Store(&from)
			edit(b[:n])
			_, _ = back.Write(b[:n])
		}
	}()
	go func() {
		b := make([]byte, 65536)
		for {
			n, err := back.Read(b)
			if err != nil {
				return
			}
			if to := client.Load(); to != nil {
				_, _ = front.WriteToUDPAddrPort(b[:n], *to)
			}
		}
	}()
	return front.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Of a packet's header.
const (
	headerSize = 28
	typeAt     = 20
	data       = 1
	response   = 7
)
