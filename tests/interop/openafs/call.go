//go:build linux

package openafs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// A Call is what one run of `rxpeer client` reported.
type Call struct {
	Result
	// Code is the Rx error code that the calls ended with, 0 for success.
	Code int32
	// Reply is the reply to the command "raw".
	Reply []byte
	// Fields are the figures it printed as key=value: "MBps", "callsps",
	// "p50us", "calls", "sec".
	Fields map[string]float64
	// CPU is the time that the client used.
	CPU time.Duration
}

var (
	codeOf  = regexp.MustCompile(`\bcode[ =](-?\d+)`)
	replyOf = regexp.MustCompile(`(?m)^reply \d+ ([0-9a-f]*)$`)
	fieldOf = regexp.MustCompile(`\b(\w+)=(-?[0-9.]+)\b`)
)

// CallPeer runs rxpeer as a client of the server at addr, with options and a
// command as rxpeer's usage lists them: "-level", "crypt", "echo". That the
// call fails is no error: see Code; that it succeeds with a wrong answer is.
func CallPeer(ctx context.Context, addr netip.AddrPort, args ...string) (Call, error) {
	program, err := PeerProgram("rxpeer")
	if err != nil {
		return Call{}, err
	}
	cmd := exec.CommandContext(ctx, program, append(append([]string{"client"}, address(addr)...), args...)...)
	r, err := run(ctx, cmd)
	c := Call{Result: r, Fields: map[string]float64{}}
	if err != nil {
		return c, err
	}
	c.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m := codeOf.FindStringSubmatch(r.Out)
	if m == nil {
		// The first call of a set, before figures are taken.
		if m = regexp.MustCompile(`first call: (-?\d+)`).FindStringSubmatch(r.Err); m == nil {
			return c, fmt.Errorf("no code in what rxpeer said: %v", r)
		}
	}
	code, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return c, fmt.Errorf("%w in what rxpeer said: %v", err, r)
	}
	c.Code = int32(code)
	if c.Code == 0 && r.Exit != 0 {
		return c, fmt.Errorf("the call came to its end, but is wrong: %v", r)
	}
	for _, f := range fieldOf.FindAllStringSubmatch(r.Out, -1) {
		if v, err := strconv.ParseFloat(f[2], 64); err == nil {
			c.Fields[f[1]] = v
		}
	}
	if m := replyOf.FindStringSubmatch(r.Out); m != nil {
		if c.Reply, err = hex.DecodeString(m[1]); err != nil {
			return c, fmt.Errorf("%w in what rxpeer said: %v", err, r)
		}
	}
	return c, nil
}

// What freePort gives: below those that the kernel gives to who asks for any, which could take one before its server does.
const firstPort, lastPort = 10_000, 30_000

// freePort finds a UDP port of the address that nobody has, and nobody else of this process gets.
func freePort(ip netip.Addr) (netip.AddrPort, error) {
	for range lastPort - firstPort {
		at := netip.AddrPortFrom(ip, uint16(firstPort+(nextPort.Add(1)-1)%(lastPort-firstPort)))
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err == nil {
			return at, c.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no port of %v is free: %w", ip, syscall.EADDRINUSE)
}

// nextPort begins anywhere: other processes have peers, too.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(lastPort - firstPort)) }
