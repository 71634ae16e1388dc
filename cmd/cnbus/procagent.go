package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/procevent"
)

// probeTime bounds how long the start of the broker waits for the kernel. One that is silent is known by that after
// Config.AckTimeout; the rest is for a machine that stands still meanwhile.
const probeTime = 15 * time.Second

// procStat is what is known of the process events.
type procStat = procevent.AgentStats

// procAgent is the agent of process events that lives with the broker. why says, if
// it is not empty, why there is none.
type procAgent struct {
	why   string
	agent *procevent.Agent
	bus   *client.Bus
	log   *slog.Logger
	once  *sync.Once
}

// startProc puts the kernel's process events on the bus, if the kernel offers
// them.
func startProc(ctx context.Context, b *broker.Broker, log *slog.Logger) procAgent {
	none := func(err error) procAgent {
		why := procReason(err)
		log.Debug("no process events", "err", err)
		return procAgent{why: why}
	}
	if err := tryKernel(ctx); err != nil {
		return none(err)
	}
	bus, err := client.Dial(ctx, &client.Config{Name: "cnbus serve", Conn: b.Conn, Logger: log})
	if err != nil {
		return none(byPolicy(err))
	}
	a, err := procevent.NewAgent(ctx, bus, &procevent.AgentConfig{Logger: log, SiteNames: !hidesProcesses()})
	if err != nil {
		bus.Close()
		return none(byPolicy(err))
	}
	return procAgent{agent: a, bus: bus, log: log, once: new(sync.Once)}
}

// tryKernel subscribes to the kernel's process events for a moment.
func tryKernel(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := procevent.Dial(ctx, &procevent.Config{ReadBuffer: -1, MaxReadBuffer: -1})
	if err != nil {
		return err
	}
	return c.Close()
}

// byPolicy tells the bus's refusal from the kernel's.
func byPolicy(err error) error {
	if errors.Is(err, connector.ErrPermission) {
		return errPolicy
	}
	return err
}

// errPolicy is why a broker does not offer what its own policy forbids.
var errPolicy = errors.New("the policy does not let the broker itself, uid \"self\", register it")

// procReason says in a few words why there are no process events.
func procReason(err error) string {
	switch {
	case errors.Is(err, procevent.ErrNoKernel):
		return "not in the initial network namespace"
	case errors.Is(err, procevent.ErrSilent), errors.Is(err, context.DeadlineExceeded):
		return "the kernel is silent: another user or pid namespace; see cnbus doctor"
	case errors.Is(err, connector.ErrPermission):
		return "this kernel wants CAP_NET_ADMIN"
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, connector.ErrNotSupported), isNoProtocol(err):
		return "this kernel has none"
	}
	return err.Error()
}

// hidesProcesses reports whether /proc shows users their own processes only.
func hidesProcesses() bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && hiddenIn(string(b))
}

// hiddenIn looks for the option hidepid of the file system on /proc, the last one that was mounted there.
func hiddenIn(mountinfo string) (hidden bool) {
	for line := range strings.Lines(mountinfo) {
		mount, super, ok := strings.Cut(line, " - proc ")
		if f := strings.Fields(mount); !ok || len(f) < 5 || f[4] != "/proc" {
			continue
		}
		hidden = false
		for _, opt := range strings.FieldsFunc(super, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
			if v, is := strings.CutPrefix(opt, "hidepid="); is {
				hidden = v != "0" && v != "off"
			}
		}
	}
	return hidden
}

// stat returns the agent's counts; false without one.
func (p *procAgent) stat() (procStat, bool) {
	if p.agent == nil {
		return procStat{}, false
	}
	return p.agent.Stats(), true
}

// stop takes the kernel subscription back. It may be called twice.
func (p *procAgent) stop() {
	if p.agent == nil {
		return
	}
	p.once.Do(func() {
		if err := p.agent.Close(); err != nil {
			p.log.Debug("end of the process events", "err", err)
		}
		p.bus.Close()
	})
}
