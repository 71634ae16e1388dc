package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"sync/atomic"
)

// A link is what joins a machine to its host.
type link struct {
	n    int // of the tap device; 0 for none
	host netip.Addr
	peer netip.Addr
	// The same for IPv6.
	host6 netip.Addr
	peer6 netip.Addr
}

var taps atomic.Int32

// newTap makes a tap device; the machine that it is for is the only one in its
// network.
func newTap(mtu int) (_ link, err error) {
	n := int(taps.Add(1))
	l := link{
		n:     n,
		host:  netip.AddrFrom4([4]byte{192, 168, byte(76 + n), 1}),
		peer:  netip.AddrFrom4([4]byte{192, 168, byte(76 + n), 2}),
		host6: netip.MustParseAddr(fmt.Sprintf("fd77:%x::1", n)),
		peer6: netip.MustParseAddr(fmt.Sprintf("fd77:%x::2", n)),
	}
	if err := ip("tuntap", "add", "dev", l.dev(), "mode", "tap"); err != nil {
		return link{}, err
	}
	if mtu == 0 {
		mtu = 1500
	}
	for _, args := range [][]string{
		{"link", "set", l.dev(), "mtu", fmt.Sprint(mtu)},
		{"addr", "add", l.host.String() + "/24", "dev", l.dev()},
		{"link", "set", l.dev(), "up"},
		{"addr", "add", l.host6.String() + "/64", "dev", l.dev(), "nodad"},
	} {
		if err := ip(args...); err != nil {
			return link{}, errors.Join(err, l.close())
		}
	}
	return l, nil
}

func (l link) dev() string { return fmt.Sprintf("rigtap%d", l.n) }

// guestEnv is what the guest's init sets its interface by.
func (l link) guestEnv() string {
	if l.n == 0 {
		return ""
	}
	return fmt.Sprintf("RIG_IP=%v/24 RIG_GW=%v RIG_IP6=%v/64 RIG_GW6=%v\n", l.peer, l.host, l.peer6, l.host6)
}

func (l link) close() error {
	if l.n == 0 {
		return nil
	}
	return ip("link", "del", l.dev())
}

func ip(args ...string) error {
	name, err := exec.LookPath("ip")
	if err != nil {
		name = "/sbin/ip" // users do not always have it in their path
	}
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}
