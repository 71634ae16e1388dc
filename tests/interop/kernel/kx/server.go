//go:build linux

package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func server(args []string) {
	fs := flag.NewFlagSet("server", flag.ExitOnError)
	bind := fs.String("bind", "0.0.0.0:7009", "local UDP address")
	svc := fs.Uint("svc", 1234, "service ID")
	upg := fs.Uint("upgrade-to", 0, "second service ID, reached by service upgrade (0: none)")
	key := fs.String("key", defKey, "server DES key, 16 hex digits; empty: no keyring")
	minlev := fs.Int("min-level", -1, "RXRPC_MIN_SECURITY_LEVEL (-1: do not set)")
	charge := fs.Int("charge", 10, "calls to keep charged")
	backlog := fs.Int("backlog", 10, "listen backlog")
	rxp := fs.Bool("rxp", false, "speak the RXP test interface instead of the text commands")
	verbose := fs.Bool("v", false, "log every recvmsg")
	maxCalls := fs.Int("n", 0, "exit after this many finished calls (0: never)")
	_ = fs.Parse(args)

	runtime.LockOSThread()
	ap := netip.MustParseAddrPort(*bind)
	if *key != "" {
		if err := joinSession(); err != nil {
			die("keyctl join session: %s", errs(err))
		}
		ring, err := addRing("kx-server")
		if err != nil {
			die("add_key keyring: %s", errs(err))
		}
		for _, s := range []uint{*svc, *upg} {
			if s == 0 {
				continue
			}
			if err := addKey("rxrpc_s", fmt.Sprintf("%d:2", s), mustKey(*key), ring); err != nil {
				die("add_key rxrpc_s %d:2: %s", s, errs(err))
			}
		}
	}
	fd, err := rxSocket(ap.Addr().Is6())
	if err != nil {
		die("socket(AF_RXRPC): %s", errs(err))
	}
	if *key != "" {
		if err := setopt(fd, optSecurityKeyring, []byte("kx-server")); err != nil {
			die("RXRPC_SECURITY_KEYRING: %s", errs(err))
		}
	}
	if *minlev >= 0 {
		if err := setoptU32(fd, optMinSecurityLevel, uint32(*minlev)); err != nil {
			die("RXRPC_MIN_SECURITY_LEVEL: %s", errs(err))
		}
	}
	if err := rxBind(fd, ap, uint16(*svc)); err != nil {
		die("bind svc %d: %s", *svc, errs(err))
	}
	if *upg != 0 {
		if err := rxBind(fd, ap, uint16(*upg)); err != nil {
			die("second bind svc %d: %s", *upg, errs(err))
		}
		var b [4]byte
		binary.NativeEndian.PutUint16(b[0:], uint16(*svc))
		binary.NativeEndian.PutUint16(b[2:], uint16(*upg))
		if err := setopt(fd, optUpgradeableService, b[:]); err != nil {
			die("RXRPC_UPGRADEABLE_SERVICE: %s", errs(err))
		}
	}
	if err := syscall.Listen(fd, *backlog); err != nil {
		die("listen(%d): %s", *backlog, errs(err))
	}
	next := uint64(0x1000)
	chargeOne := func() error {
		_, err := rxSend(fd, nil, nil, 0, cmsg{cUserCallID, u64(next)}, cmsg{cChargeAccept, nil})
		if err == nil {
			next++
		}
		return err
	}
	got := 0
	for i := 0; i < *charge; i++ {
		if err := chargeOne(); err != nil {
			fmt.Printf("server: charge %d: %s\n", i, errs(err))
			break
		}
		got++
	}
	fmt.Printf("server: listening %v svc=%d upgrade-to=%d charged=%d\n", ap, *svc, *upg, got)

	type call struct {
		req    []byte
		rxp    rxpCall
		svc    uint16
		served bool
	}
	calls := map[uint64]*call{}
	buf := make([]byte, 256<<10)
	finished := 0
	for {
		m, err := rxRecv(fd, buf, 0)
		if err != nil {
			die("server recvmsg: %s", errs(err))
		}
		if *verbose {
			fmt.Println("server:", m)
		}
		if !m.hasID {
			fmt.Println("server: message without call ID:", m)
			continue
		}
		c := calls[m.id]
		if c == nil {
			c = &call{}
			calls[m.id] = c
		}
		if m.svc != 0 {
			c.svc = m.svc
		}
		terminal := false
		for _, x := range m.cs {
			switch x.typ {
			case cAck:
				terminal = true
			case cAbort, cNetError, cBusy, cLocalError:
				terminal = true
				fmt.Println("server: call ended:", m)
			}
		}
		if terminal {
			delete(calls, m.id)
			finished++
			if err := chargeOne(); err != nil {
				fmt.Println("server: recharge:", errs(err))
			}
			if *maxCalls > 0 && finished >= *maxCalls {
				fmt.Printf("server: %d calls finished, exit\n", finished)
				return
			}
			continue
		}
		// A service learns that the request is complete from MSG_MORE being
		// clear; MSG_EOR is only for the end of the call.  Linux 6.1 can say
		// so twice (the second time with no data), and the first time a little
		// before it takes a reply: see sendReply.
		if c.served {
			continue
		}
		c.served = m.flags&msgMore == 0
		if *rxp {
			c.rxp.feed(buf[:m.n])
			if c.served {
				go c.rxp.finish(fd, m.id)
			}
			continue
		}
		c.req = append(c.req, buf[:m.n]...)
		if c.served {
			go serve(fd, m.id, c.req)
			c.req = nil
		}
	}
}

// sendReply sends, trying again while the kernel says EPROTO ("reply phase not
// begun": Linux 6.1, just after the last request data), for as long as a thread
// of a kernel under emulation may have to wait for its turn.
func sendReply(fd int, id uint64, data []byte, flags int) (n int, err error) {
	for i := 0; i < 3000; i++ {
		n, err = rxSend(fd, nil, data, flags, cmsg{cUserCallID, u64(id)})
		if err != syscall.EPROTO {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return
}

func serve(fd int, id uint64, req []byte) {
	reply := req
	h := string(req[:min(len(req), 32)])
	var n int
	switch {
	case strings.HasPrefix(h, "GEN "):
		fmt.Sscanf(h, "GEN %d", &n)
		reply = pattern(n)
	case strings.HasPrefix(h, "SINK "):
		reply = []byte(fmt.Sprintf("%d", len(req)))
	case strings.HasPrefix(h, "SLOW "):
		fmt.Sscanf(h, "SLOW %d", &n)
		time.Sleep(time.Duration(n) * time.Millisecond)
	case strings.HasPrefix(h, "ABRT "):
		fmt.Sscanf(h, "ABRT %d", &n)
		if _, err := rxSend(fd, nil, nil, 0, cmsg{cUserCallID, u64(id)}, cmsg{cAbort, u32(uint32(n))}); err != nil {
			fmt.Println("server: abort:", errs(err))
		}
		return
	}
	if _, err := sendReply(fd, id, reply, 0); err != nil {
		fmt.Printf("server: sendmsg reply id=%#x: %s\n", id, errs(err))
	}
}
