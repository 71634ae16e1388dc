package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// initUserNS is the initial user namespace, include/linux/proc_ns.h.
const initUserNS = "user:[4026531837]"

// checkKernel tests each way in which the kernel's process events are known to
// fail in silence.
func checkKernel(ctx context.Context, r *report) {
	s, err := nlconn.Dial(&nlconn.SocketConfig{Credentials: true})
	if err != nil {
		if isNoProtocol(err) {
			r.fail("kernel", "this kernel has no connector", "it needs CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y")
			return
		}
		r.fail("kernel", err.Error(), "")
		return
	}
	defer s.Close()
	netns, initial := checkNamespaces(r, s)
	checkBuffer(r, s)
	if netns {
		checkTable(r)
	}
	if initial { // elsewhere every further test would only show the same
		checkListening(ctx, r, s)
	}
}

// checkNamespaces tells whether the kernel will answer this process at all.
func checkNamespaces(r *report, s *nlconn.Socket) (netns, initial bool) {
	const check = "namespaces"
	has, err := s.HasKernel()
	if err != nil {
		r.warn(check, err.Error(), "")
		return false, false
	}
	if !has {
		r.fail(check, "not in the initial network namespace: the kernel has process events only there, and elsewhere refuses LISTEN",
			"run the broker on the host, or the container with the host's network")
		return false, false
	}
	user, _ := os.Readlink("/proc/self/ns/user")
	pid, _ := os.Readlink("/proc/self/ns/pid")
	var in []string
	if user != initUserNS {
		in = append(in, "user")
	}
	if pid != initPIDNS {
		in = append(in, "pid")
	}
	if len(in) > 0 {
		r.fail(check, "not in the initial "+strings.Join(in, " and ")+" namespace: the kernel takes LISTEN and stays silent",
			"run the broker on the host and let containers use its socket")
		return true, false
	}
	r.ok(check, "the initial user, pid and network namespaces")
	return true, true
}

// checkBuffer tells how large a receive buffer may become.
func checkBuffer(r *report, s *nlconn.Socket) {
	const (
		check   = "buffer"
		perMsg  = 832 // of the buffer for an event
		enough  = 4 << 20
		sysctl  = "/proc/sys/net/core/rmem_max"
		wantMax = 8 << 20
	)
	got, err := s.SetReadBuffer(wantMax)
	if err != nil {
		r.warn(check, err.Error(), "")
		return
	}
	if got < enough {
		text := fmt.Sprintf("a receive buffer may have %s here, %s events: a burst of forks overruns it", cli.Bytes(got), cli.Count(got/perMsg))
		limit, _ := os.ReadFile(sysctl)
		r.warn(check, text, fmt.Sprintf("sysctl net.core.rmem_max=%d (it is %s), or CAP_NET_ADMIN for the broker", wantMax, strings.TrimSpace(string(limit))))
		return
	}
	r.ok(check, "a receive buffer may have %s, %s events", cli.Bytes(got), cli.Count(got/perMsg))
}

// checkTable reads what the kernel says is registered.
func checkTable(r *report) {
	const check = "kernel"
	b, err := os.ReadFile("/proc/net/connector")
	switch {
	case err != nil:
		r.warn(check, err.Error(), "a kernel without CONFIG_CONNECTOR has no such file")
	case !strings.Contains(string(b), "cn_proc"):
		r.fail(check, "cn_proc is not in /proc/net/connector: sockets open, and nothing ever comes", "the kernel needs CONFIG_PROC_EVENTS=y")
	default:
		r.ok(check, "Linux %s, cn_proc is registered", release())
	}
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// checkListening looks at the global count of listeners and at what the group carries.
func checkListening(ctx context.Context, r *report, s *nlconn.Socket) {
	const check = "permission"
	if err := s.Join(1); err != nil {
		if errors.Is(err, unix.EPERM) {
			r.fail(check, "this kernel lets only CAP_NET_ADMIN listen", "run the broker as root or with AmbientCapabilities=CAP_NET_ADMIN (contrib/systemd does); Linux 6.2 and later let everybody")
			return
		}
		r.fail(check, err.Error(), "")
		return
	}
	p := &kernelProbe{s: s, bufs: make([]nlconn.Datagram, s.Batch())}
	quiet := p.listenOnly(ctx)
	others := countSockets(s.Port())
	for range 3 { // who has just left may have been heard, but not be seen
		if quiet.events == 0 || others > 0 {
			break
		}
		quiet = p.listenOnly(ctx)
		others = countSockets(s.Port())
	}
	checkDrops(r, s.Port())
	ack, err := p.listen()
	defer p.ignore()
	switch {
	case errors.Is(err, connector.ErrPermission):
		r.fail(check, "the kernel answers LISTEN with EPERM", "it wants CAP_NET_ADMIN")
		return
	case err != nil:
		r.fail(check, err.Error(), "")
		return
	}
	r.ok(check, "user %s may listen", cli.User(uint32(os.Geteuid())))
	checkCount(r, quiet, others, ack)
	if ack {
		checkMask(r, p)
	}
	if ack || quiet.events > 0 {
		checkDelivery(ctx, r, p)
	}
	checkForged(r, p)
}

// checkCount judges the kernel's count of listeners, which anybody can change and which
// stays up when a listener dies without IGNORE.
func checkCount(r *report, quiet seen, others int, ack bool) {
	const check = "listeners"
	switch {
	case !ack && others == 0:
		r.fail(check, "the kernel did not answer LISTEN: its count of listeners is below zero, or this is not an initial namespace",
			"some program said IGNORE too often; cnbus serve raises the count again by itself when it subscribes")
	case !ack:
		r.fail(check, "the kernel did not answer LISTEN although others listen: somebody lowered its count", "restart who listens; cnbus serve notices it and asks again")
	case quiet.events > 0 && others == 0:
		r.warn(check, "events flow although nobody listens: a listener died without IGNORE",
			"harmless but for some work at each fork, until the next boot; a program that only binds works \"by magic\" now and will not after it")
	default:
		r.ok(check, "the kernel answers; %s", plural(others, "other socket")+" in the group")
	}
}

// checkMask tells whether the kernel filters by kind of event.
func checkMask(r *report, p *kernelProbe) {
	const check = "masks"
	known, err := p.masks()
	switch {
	case err != nil:
		r.warn(check, err.Error(), "")
	case known:
		r.ok(check, "the kernel filters by kind of event")
	default:
		r.ok(check, "this kernel (before 6.6) ignores masks: filters work, but in this process")
	}
}

// checkDelivery makes an event and waits for it.
func checkDelivery(ctx context.Context, r *report, p *kernelProbe) {
	const check = "events"
	start := time.Now()
	pid, err := runChild(ctx)
	if err != nil {
		r.skip(check, "cannot run a program to look at: "+err.Error())
		return
	}
	if p.sees(pid, childWait) {
		r.ok(check, "the kernel told of a child %s after it was started", cli.Duration(time.Since(start)))
		return
	}
	r.fail(check, "the kernel did not tell of a child of mine", "see the checks above")
}

// checkForged tells whether somebody else multicasts into the kernel's group.
func checkForged(r *report, p *kernelProbe) {
	const check = "forgers"
	if p.total.forged == 0 {
		r.ok(check, "whatever came was from the kernel")
		return
	}
	r.warn(check, fmt.Sprintf("%s did not come from the kernel but from port %d (pid %d)", plural(p.total.forged, "event"), p.total.forger.Port, p.total.forger.Cred.PID),
		"cnbus refuses and counts them; other programs that do not look at the sender's address believe them")
}
