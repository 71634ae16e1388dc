package sim

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Options of a run.
type Options struct {
	Trace io.Writer // every packet and event, a line each
	Break Break     // a rule that is broken on purpose, to show that it is noticed
}

// Report is what became of a scenario.
type Report struct {
	Failures  []string // rule: what happened; none if all is well
	Succeeded int      // calls, at their clients
	Failed    int
	Datagrams int
	Events    int
	Virtual   time.Duration // until the last call had ended

	// Of the endpoints that were there in the end.
	Timeouts, FastRecovery, MTUProbes, MTULost uint64

	Digest uint64 // of all that was sent: the same for the same scenario
}

// Bounds of a run.
const (
	maxEvents   = 3_000_000
	maxVirtual  = 45 * time.Minute // of calls
	maxFailures = 20
	forgetting  = 20 * time.Minute // after which nothing may be left
)

// A run is a scenario being played.
type run struct {
	sc    *Scenario
	opt   Options
	clock clock
	start proto.Time
	trace *tracer
	check *Checker
	net   *network
	hosts []*host

	order     []*half // all, as they came
	done      int     // how many of them have ended, from the first on
	clients   []*half // by call
	servers   []*half // that executed it last
	ids       map[callID]int
	executed  map[[3]int]int // by call, host and life
	followed  []bool         // the calls after it have begun
	unstarted int
	quiet     bool // calls are over
	scratch   []byte
	report    Report
}

// Run plays a scenario.
func Run(sc *Scenario, opt Options) *Report {
	r := &run{
		sc: sc, opt: opt, start: proto.Time(mix(sc.Seed) % 1e15), ids: map[callID]int{}, executed: map[[3]int]int{},
		clients: make([]*half, len(sc.Calls)), followed: make([]bool, len(sc.Calls)), servers: make([]*half, len(sc.Calls)), unstarted: len(sc.Calls), scratch: make([]byte, 64<<10),
	}
	r.clock.now = r.start
	r.trace = &tracer{opt.Trace, r.start}
	r.check = newChecker(len(sc.Hosts), func(rule, what string, b []byte) { r.fail(rule, "%s: %s", what, describe(b)) })
	r.check.Stateless = sc.NoChecksum
	r.check.Refusals, r.check.Forgetful = sc.refuses(), sc.tight()
	r.net = newNetwork(r)
	for i := range sc.Hosts {
		h := newHost(r, i)
		r.hosts = append(r.hosts, h)
		r.net.addrs[h.outside()] = h
	}
	for _, h := range r.hosts {
		h.start()
	}
	for i := range sc.Calls {
		if sc.Calls[i].After == 0 {
			r.clock.after(dur(sc.Calls[i].At), func() { r.begin(i) })
		}
	}
	for _, f := range sc.Faults {
		r.clock.after(dur(f.At), func() { r.fault(f) })
	}
	if sc.Rubbish > 0 {
		r.clock.after(0, r.net.rubbish)
	}
	r.play()
	return &r.report
}

func (r *run) elapsed() time.Duration { return time.Duration(r.clock.now - r.start) }

// fail notes a violation.
func (r *run) fail(rule, format string, args ...any) {
	msg := fmt.Sprintf("%s: %s", rule, fmt.Sprintf(format, args...))
	r.trace.line(r.clock.now, "**** %s", msg)
	if len(r.report.Failures) < maxFailures {
		r.report.Failures = append(r.report.Failures, fmt.Sprintf("%.6f %s", r.elapsed().Seconds(), msg))
	}
}

func (r *run) play() {
	for r.step() && r.elapsed() < maxVirtual && !r.over() {
		if len(r.report.Failures) >= maxFailures {
			return
		}
	}
	r.report.Virtual = r.elapsed()
	r.verdict()
	if len(r.report.Failures) > 0 {
		return
	}
	r.quiet = true
	for end := r.clock.now + dur(forgetting); r.clock.now < end && r.step(); {
		continue
	}
	r.forgotten()
}

// step lets one thing happen.
func (r *run) step() bool {
	if r.report.Events++; r.report.Events > maxEvents {
		r.fail("storm", "more than %d events", maxEvents)
		return false
	}
	e, ok := r.clock.next()
	if !ok {
		return false
	}
	switch e.kind {
	case evArrive:
		r.net.arrive(e.pkt)
	case evWake:
		e.host.wake()
	case evDo:
		e.do()
	}
	if r.report.Events%512 == 0 {
		r.bounded()
	}
	return true
}

// over says whether all calls have begun and ended.
func (r *run) over() bool {
	if r.unstarted > 0 {
		return false
	}
	for ; r.done < len(r.order); r.done++ {
		if r.order[r.done].usable() {
			return false
		}
	}
	return true
}

func (r *run) fault(f Fault) {
	h := r.hosts[f.Host]
	if r.quiet {
		return
	}
	r.trace.line(r.clock.now, "     host %d: %v for %v", f.Host, f.Kind, f.For)
	switch f.Kind {
	case Partition:
		h.cut = max(h.cut, r.clock.now+dur(f.For))
	case Rebind:
		delete(r.net.addrs, h.outside())
		h.binding++
		r.check.Moved(h.id)
		r.net.addrs[h.outside()] = h
	case Restart:
		if h.ep == nil {
			return
		}
		h.stop()
		r.clock.after(dur(f.For), h.start)
	case Refuse:
		h.refuse(true)
		life := h.life
		r.clock.after(dur(f.For), func() {
			if h.life == life {
				h.refuse(false)
			}
		})
	case Shutdown:
		if h.ep != nil {
			h.ep.Close(r.clock.now)
			h.pump()
		}
	}
}

// verdict checks how the calls have ended.
func (r *run) verdict() {
	for _, x := range r.order {
		if x.usable() {
			r.fail("termination", "%s is in state %d, after %v", x.name(), x.call.State(), time.Duration(r.clock.now-x.began))
		}
	}
	for i, x := range r.clients {
		if x == nil || x.gone {
			continue
		}
		if x.released && !x.ended {
			continue
		}
		spec := &r.sc.Calls[i]
		ok := x.result.Completion == proto.Succeeded
		if ok {
			r.report.Succeeded++
		} else {
			r.report.Failed++
		}
		if r.sc.NoChecksum {
			continue
		}
		if ok {
			r.succeeded(i)
		}
		if !ok && spec.meant() && r.sc.gentle() {
			r.fail("success", "%s failed: %+v", x.name(), x.result)
		}
		if took := time.Duration(x.endedAt - x.began); ok && r.sc.gentle() && took > r.patience(spec) {
			r.fail("slow", "%s took %v, and %v is bearable", x.name(), took, r.patience(spec))
		}
		if spec.NoAnswer && ok {
			r.fail("success", "%s succeeded, and nobody answered", x.name())
		}
	}
	for _, x := range r.order {
		if x.ended && x.result.Code == wire.ProtocolError && r.sc.gentle() && r.sc.Rubbish == 0 && x.index >= 0 && x.spec.meant() {
			r.fail("protocol error", "%s: %+v", x.name(), x.result)
		}
	}
	for addr, a := range r.net.strangers {
		r.check.Amplified(addr.String(), a.sent, a.got, a.packets)
	}
}

// succeeded checks what a client was told that its call succeeded against what the
// server has done.
func (r *run) succeeded(i int) {
	s := r.servers[i]
	n := 0
	for k, v := range r.executed {
		if k[0] == i {
			n += v
		}
	}
	restarts := r.sc.disturbed()
	switch {
	case s == nil:
		r.fail("exactly once", "call %d succeeded, and was never executed", i)
	case n != 1 && !restarts:
		r.fail("exactly once", "call %d succeeded, and was executed %d times", i, n)
	case !s.gotEnd:
		r.fail("success", "call %d succeeded, and its request was not read", i)
	case r.sc.Calls[i].RejectByAbort || r.sc.Calls[i].RejectByBusy:
		r.fail("success", "call %d succeeded, and was rejected", i)
	}
}

// patience is how long a call may take on a gentle path.
func (r *run) patience(c *CallSpec) time.Duration {
	packets := time.Duration((c.Request+c.Reply)/500 + 10)
	w := 255
	for _, h := range r.sc.Hosts {
		for _, v := range []int{h.Receive, h.Send} {
			if v > 0 {
				w = min(w, v)
			}
		}
	}
	l := r.sc.Link
	d := 30*time.Second + packets*(c.ClientReads+c.ServerReads)
	d += packets / time.Duration(min(w, 4)) * 3 * (2*(l.Latency+l.Jitter) + 10*time.Millisecond)
	if l.Rate > 0 {
		total := 0
		for i := range r.sc.Calls {
			total += r.sc.Calls[i].Request + r.sc.Calls[i].Reply
		}
		d += time.Duration(4*float64(total)/float64(l.Rate)*1e9) + 10*time.Second
	}
	for _, h := range r.sc.Hosts {
		if h.Old.Soft > 0 {
			d += packets * time.Duration(hardAckDelay) / 3
		}
	}
	for _, f := range r.sc.Faults {
		d += 3 * f.For
	}
	for i := range r.sc.Calls { // calls may have to wait for others
		d += r.sc.Calls[i].Think
	}
	return d
}

// bounded checks what endpoints hold while calls go on.
func (r *run) bounded() {
	for _, h := range r.hosts {
		if h.ep == nil {
			continue
		}
		s := h.ep.Stats()
		most := 2*len(r.sc.Calls) + 100 + int(float64(r.sc.Rubbish)*10*r.elapsed().Seconds())
		if s.LiveCalls > most || s.LiveClientConns > most || s.LiveServiceConns > most || s.LivePeers > most {
			r.fail("bounded", "host %d holds %+v", h.id, s)
		}
		window := 255
		if w := r.sc.Hosts[h.id].Receive; w > 0 {
			window = w
		}
		if out, in := h.ep.Held(); out > 512*s.LiveCalls || in > window*s.LiveCalls {
			r.fail("bounded", "host %d holds %d packets to send and %d that arrived, of %d calls", h.id, out, in, s.LiveCalls)
		}
	}
}

// forgotten checks that nothing is left.
func (r *run) forgotten() {
	for _, h := range r.hosts {
		if h.ep == nil {
			continue
		}
		s := h.ep.Stats()
		r.report.Timeouts += s.Timeouts
		r.report.FastRecovery += s.FastRecovery
		r.report.MTUProbes += s.MTUProbes
		r.report.MTULost += s.MTULost
		if s.LiveCalls+s.LiveClientConns+s.LiveServiceConns+s.LivePeers != 0 || !h.ep.Idle() {
			r.fail("forgotten", "host %d still holds %d calls, %d and %d connections, %d peers; idle: %v",
				h.id, s.LiveCalls, s.LiveClientConns, s.LiveServiceConns, s.LivePeers, h.ep.Idle())
		}
		if due, ok := h.ep.Deadline(); ok {
			r.fail("forgotten", "host %d still waits for something in %v", h.id, time.Duration(due-r.clock.now))
		}
	}
}

// String says what is wrong, and how to see it happen.
func (r *Report) String() string {
	return fmt.Sprintf("%d succeeded, %d failed, %d datagrams, %d events, %v\n\t%s",
		r.Succeeded, r.Failed, r.Datagrams, r.Events, r.Virtual, strings.Join(r.Failures, "\n\t"))
}
