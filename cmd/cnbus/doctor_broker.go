package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/procevent"
)

// checkBroker looks at the broker from the outside.
func checkBroker(ctx context.Context, app *cli.App, r *report) {
	const check = "broker"
	start := time.Now()
	bus, err := app.Dial(ctx, "cnbus doctor")
	switch {
	case err == nil:
	case cli.NoBroker(err):
		r.fail(check, err.Error(), "or, if one runs elsewhere, name it by --socket or "+cli.EnvSocket)
		return
	case errors.Is(err, connector.ErrPermission), errors.Is(err, connector.ErrLimit):
		r.fail(check, err.Error(), "ask who runs the broker for a [[rule]] in its policy, or run your own: cnbus serve --socket PATH")
		return
	case errors.Is(err, os.ErrPermission):
		r.fail(check, err.Error(), "the socket's mode or a directory above it keeps this user out: the broker itself makes it 0666 and goes by its policy")
		return
	default:
		r.fail(check, err.Error(), "something listens there that is no broker, or it hangs")
		return
	}
	defer bus.Close()
	st, err := cli.Query[broker.StatRow](ctx, bus, "stat")
	if err != nil {
		r.fail(check, err.Error(), "")
		return
	}
	r.ok(check, "answers in %s: pid %d, user %s, %s", cli.Duration(time.Since(start)), st.PID, cli.User(st.UID), plural(st.Clients-1, "other client"))
	checkSocket(app, r)
	checkPolicy(ctx, r, bus)
	checkLosses(ctx, r, bus, &st)
	checkAgent(ctx, r, bus)
	checkSockets(ctx, r, bus)
	checkSite(ctx, r, bus)
}

// checkSocket looks at who could put another socket in the place of this one.
func checkSocket(app *cli.App, r *report) {
	const check = "socket"
	path := app.SocketPath()
	if path == "" {
		r.ok(check, "found at one of the usual places, which only its owner can write to")
		return
	}
	if cli.IsTLS(path) {
		r.ok(check, "%s: whoever has its certificate is the broker", path)
		return
	}
	dir := filepath.Dir(path)
	fi, err := os.Stat(dir)
	switch {
	case err != nil:
		r.warn(check, err.Error(), "")
	case fi.Mode().Perm()&0o002 != 0 && fi.Mode()&os.ModeSticky == 0:
		r.warn(check, fmt.Sprintf("%s: every user may put another socket there (%s is mode %v)", path, dir, fi.Mode().Perm()), "chmod o-w "+dir)
	default:
		r.ok(check, "%s", path)
	}
}

func checkPolicy(ctx context.Context, r *report, bus *client.Bus) {
	const check = "policy"
	v, err := cli.Query[broker.Verdict](ctx, bus, "policy")
	switch {
	case err != nil:
		r.warn(check, err.Error(), "")
	case v.Admin:
		r.ok(check, "you may do everything")
	case len(v.Register)+len(v.Send)+len(v.Join) == 0:
		r.warn(check, "you may connect, but neither register, nor send, nor join", "see cnbus policy show")
	default:
		r.ok(check, "register %d, send %d, join %d ranges of ids; see cnbus policy show", len(v.Register), len(v.Send), len(v.Join))
	}
}

// checkLosses names who is slow and who lost something.
func checkLosses(ctx context.Context, r *report, bus *client.Bus, st *broker.StatRow) {
	const check = "losses"
	conns, err := cli.Query[[]broker.ConnRow](ctx, bus, "conns")
	if err != nil {
		r.warn(check, err.Error(), "")
		return
	}
	clean := true
	for i := range conns {
		if t := trouble(&conns[i]); t != "" {
			clean = false
			r.warn(check, cli.Owner(conns[i].Owner)+": "+t, "it reads too slowly; a history of its group (docs/policy.md) or a larger --queue lets it catch up")
		}
	}
	if clean {
		r.ok(check, "no client is slow; %s messages were lost at full receivers since the start", cli.Count(st.Lost))
	}
}

// checkAgent asks for an event through the broker and makes one.
func checkAgent(ctx context.Context, r *report, bus *client.Bus) {
	const check = "proc agent"
	rows, err := cli.Query[[]broker.IDRow](ctx, bus, "ids")
	if err != nil {
		r.warn(check, err.Error(), "")
		return
	}
	if !slices.ContainsFunc(rows, func(row broker.IDRow) bool { return row.ID == cbid.Proc }) {
		r.warn(check, "nobody has registered proc (1:1): this broker has no process events", "the checks of the kernel below may tell why; the broker says it when it starts")
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, connector.ErrTimeout)
	defer cancel()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		r.fail(check, err.Error(), "")
		return
	}
	sub, err := procevent.Subscribe(ctx, ep, procevent.Filter{})
	if err != nil {
		r.fail(check, err.Error(), "see cnbus policy show: process events need send and join for proc")
		return
	}
	start := time.Now()
	pid, err := runChild(ctx)
	if err != nil {
		r.skip(check, "cannot run a program to look at: "+err.Error())
		return
	}
	for {
		e, err := sub.Recv(ctx)
		switch {
		case err != nil:
			r.fail(check, "subscribed, but the event of a child of mine did not come", "the broker's kernel subscription is dead; look at its log, restart it")
			return
		case e.Kind == procevent.Exit && (e.Tgid == pid || !initialPIDs()):
			r.ok(check, "events come through the broker, %s after a child was started", cli.Duration(time.Since(start)))
			return
		}
	}
}

// initialPIDs reports whether the process ids here are those of the kernel's
// events. In another pid namespace the end of any process must do.
func initialPIDs() bool {
	ns, err := os.Readlink("/proc/self/ns/pid")
	return err != nil || ns == initPIDNS
}

// initPIDNS is the initial pid namespace, include/linux/proc_ns.h.
const initPIDNS = "pid:[4026531836]"

// runChild runs a program that ends at once and returns its process id.
func runChild(ctx context.Context) (uint32, error) {
	c := exec.CommandContext(ctx, "/bin/sh", "-c", ":")
	if err := c.Run(); err != nil {
		return 0, err
	}
	return uint32(c.Process.Pid), nil
}
