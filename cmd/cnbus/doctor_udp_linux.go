package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// engineBuffer is what an RxRPC endpoint asks for, in each direction: rxrpc.Config.
const engineBuffer = 4 << 20

// checkUDP tells what the kernel does for the UDP sockets of RxRPC.
func checkUDP(r *report) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.fail("udp", err.Error(), "RxRPC needs UDP over IPv4")
		return
	}
	defer unix.Close(fd)
	checkUDPBuffers(r, fd)
	checkUDPOptions(r, fd)
	f, err := os.Open("/proc/net/protocols")
	if err != nil {
		r.skip("af_rxrpc", err.Error())
		return
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	kernel := false
	for sc.Scan() {
		kernel = kernel || strings.HasPrefix(sc.Text(), "RXRPC ")
	}
	if kernel {
		r.ok("af_rxrpc", "the kernel has it too, with ports of its own; cnbus needs it not")
		return
	}
	r.ok("af_rxrpc", "not loaded in this kernel; cnbus needs it not")
}

// checkUDPBuffers tells whether a burst of a window's packets has room.
func checkUDPBuffers(r *report, fd int) {
	const check = "udp buffers"
	var small []string
	for _, b := range []struct {
		opt         int
		name, limit string
	}{{unix.SO_RCVBUF, "receive", "net.core.rmem_max"}, {unix.SO_SNDBUF, "send", "net.core.wmem_max"}} {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.opt, engineBuffer)
		var got int
		if err == nil {
			got, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, b.opt)
		}
		if err != nil {
			r.warn(check, err.Error(), "")
			return
		}
		if got /= 2; got < engineBuffer { // the kernel tells twice what was asked for
			small = append(small, fmt.Sprintf("%s %s (sysctl %s=%d)", b.name, cli.Bytes(got), b.limit, engineBuffer))
		}
	}
	if len(small) == 0 {
		r.ok(check, "RxRPC gets its %s each way", cli.Bytes(engineBuffer))
		return
	}
	r.warn(check, "smaller than the "+cli.Bytes(engineBuffer)+" that RxRPC asks for: "+strings.Join(small, ", "), "many calls at a time lose packets, which are sent again; the sysctls help")
}

// checkUDPOptions tells what errors and batches the kernel knows.
func checkUDPOptions(r *report, fd int) {
	const check = "udp"
	var missing []string
	for _, o := range []struct {
		level, name, value int
		text               string
	}{
		{unix.IPPROTO_IP, unix.IP_RECVERR, 1, "IP_RECVERR (a dead peer is noticed by time-outs only)"},
		{unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1400, "UDP_SEGMENT (Linux 4.18: every packet is sent by itself)"},
		{unix.IPPROTO_UDP, unix.UDP_GRO, 1, "UDP_GRO (Linux 5.0: every packet is received by itself)"},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			missing = append(missing, o.text)
			if !errors.Is(err, unix.ENOPROTOOPT) {
				missing[len(missing)-1] += ": " + err.Error()
			}
		}
	}
	if len(missing) == 0 {
		r.ok(check, "errors of the network are told (IP_RECVERR), packets go in batches (GSO, GRO)")
		return
	}
	r.warn(check, "this kernel lacks "+strings.Join(missing, "; "), "RxRPC works without, but slower")
}
