package sim

import (
	"fmt"
	"strings"
	"time"
)

// Scenario is what happens in a run. Draw makes one from a seed.
type Scenario struct {
	Seed   uint64
	IPv6   bool
	Hosts  []Host
	Calls  []CallSpec
	Link   Link
	Faults []Fault
	// Rubbish is how many datagrams strangers send per second: made up, with a wrong
	// epoch or cid, or heard before. They change nothing.
	Rubbish float64
	// NoChecksum: bytes that change on the way are not noticed by UDP, so that anything
	// may happen to a call. Only what an endpoint does to others is checked then.
	NoChecksum bool
	// Slack is how late timers are, at most.
	Slack time.Duration
}

// Host is a machine with an endpoint.
type Host struct {
	Services  []ServiceSpec
	NAT       bool
	Receive   int // windows and packets in a datagram, 0: the default
	Send      int
	JumboMax  int
	NoJumbo   bool
	NoProbe   bool
	Interface int // MTU, 0: 1500
	Start     int
	Old       Old
	Tight     bool // low limits: calls are refused, and wait
}

// Old says how a Host's ACKs look, as if it were an older implementation.
type Old struct {
	Words int // of the trailer: 1 none, 2 two, 3 three; 0: all four
	Soft  int // packets that it hard-acks only later (OpenAFS: when the application takes them)
}

// ServiceSpec is a service of a Host.
type ServiceSpec struct {
	ID      uint16
	Upgrade uint16 // the service that it becomes on request, 0: none
	Accept  uint8  // as proto.Accept
	Sealed  bool   // only calls with security
}

// CallSpec is a call and what both applications do with it.
type CallSpec struct {
	At            time.Duration
	After         int // begins when call After-1 has ended; 0: at At
	From, To      int
	Service       uint16
	Sealed        bool
	Upgrade       bool
	Exclusive     bool
	Request       int // bytes
	Reply         int
	RequestChunk  int // bytes that the application sends at a time
	ReplyChunk    int
	TailEmpty     bool          // says that it was all only afterwards
	TxLength      bool          // announces the length
	Think         time.Duration // before the reply
	ClientReads   time.Duration // between pieces taken, 0: as they come
	ServerReads   time.Duration
	ClientAborts  time.Duration // after it began, 0: never
	ServerAborts  time.Duration
	Abandon       time.Duration // the client releases the call
	Hard          time.Duration // time-out
	NoAnswer      bool          // the server never replies; with Hard
	ReleaseEarly  bool          // the server releases the call when the reply is queued
	RejectByBusy  bool          // of services that accept by hand
	RejectByAbort bool
}

// Fault is something that happens at a time.
type Fault struct {
	At   time.Duration
	Kind FaultKind
	Host int
	For  time.Duration
}

// FaultKind says what happens to a Host.
type FaultKind uint8

// Faults.
const (
	Partition FaultKind = iota // nothing reaches or leaves it For so long
	Rebind                     // its NAT forgets the binding
	Restart                    // its endpoint is gone For so long, then a new one is there
	Refuse                     // its services take no calls For so long
	Shutdown                   // its endpoint closes in order, and is gone
)

// String returns the fault in one word.
func (k FaultKind) String() string {
	return [...]string{"partition", "rebind", "restart", "refuse", "shutdown"}[k]
}

// String tells all of it, for who looks for the reason of a failure.
func (s *Scenario) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: ipv6 %v, rubbish %.0f/s, checksums %v, slack %v\n  link: %v\n", s.Seed, s.IPv6, s.Rubbish, !s.NoChecksum, s.Slack, s.Link)
	for i, h := range s.Hosts {
		fmt.Fprintf(&b, "  host %d: %+v\n", i, h)
	}
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  fault: host %d %v at %v for %v\n", f.Host, f.Kind, f.At, f.For)
	}
	for i := range s.Calls {
		fmt.Fprintf(&b, "  call %d: %s\n", i, s.Calls[i].text())
	}
	return b.String()
}

func (c *CallSpec) text() string {
	var b strings.Builder
	if c.After > 0 {
		fmt.Fprintf(&b, "after call %d ", c.After-1)
	}
	fmt.Fprintf(&b, "at %v %d>%d service %d, %d by %d bytes, reply %d by %d after %v",
		c.At, c.From, c.To, c.Service, c.Request, c.RequestChunk, c.Reply, c.ReplyChunk, c.Think)
	for _, f := range []struct {
		on   bool
		name string
	}{
		{c.Sealed, "sealed"},
		{c.Upgrade, "upgrade"},
		{c.Exclusive, "exclusive"},
		{c.TailEmpty, "tail empty"},
		{c.TxLength, "length announced"},
		{c.NoAnswer, "no answer"},
		{c.ReleaseEarly, "released early"},
		{c.RejectByBusy, "rejected by BUSY"},
		{c.RejectByAbort, "rejected"},
	} {
		if f.on {
			b.WriteString(", " + f.name)
		}
	}
	for _, f := range []struct {
		d    time.Duration
		name string
	}{
		{c.ClientReads, "client reads every"},
		{c.ServerReads, "server reads every"},
		{c.ClientAborts, "client aborts after"},
		{c.ServerAborts, "server aborts after"},
		{c.Abandon, "abandoned after"},
		{c.Hard, "hard time-out"},
	} {
		if f.d != 0 {
			fmt.Fprintf(&b, ", %s %v", f.name, f.d)
		}
	}
	return b.String()
}

// kind says whether the applications mean the call to succeed.
func (c *CallSpec) meant() bool {
	return c.ClientAborts == 0 && c.ServerAborts == 0 && c.Abandon == 0 && !c.NoAnswer && !c.RejectByBusy && !c.RejectByAbort &&
		c.Hard == 0
}

// gentle says whether the network is good enough that every call that is meant to
// succeed does. (At 5 % of loss a client that hears nothing for 20 s has lost seven
// transmissions or their answers in a row: once in ten million.)
func (s *Scenario) gentle() bool {
	l := s.Link
	return l.Loss*float64(max(l.Burst, 1)) <= .05 && l.Corrupt <= .02 && l.Loss*float64(max(l.Burst, 1))+l.Corrupt <= .05 &&
		l.Burst <= 8 && !l.NoFrags && !s.NoChecksum && !s.disturbed()
}

// refuses says whether servers may send calls away.
func (s *Scenario) refuses() bool {
	for _, f := range s.Faults {
		if f.Kind == Refuse || f.Kind == Shutdown {
			return true
		}
	}
	for i := range s.Calls {
		if s.Calls[i].RejectByBusy {
			return true
		}
	}
	return len(s.Calls) > 10 || s.tight() // more than the backlog of a service
}

// tight says whether any host has low limits.
func (s *Scenario) tight() bool {
	for i := range s.Hosts {
		if s.Hosts[i].Tight {
			return true
		}
	}
	return false
}

// disturbed says whether hosts come, go or move.
func (s *Scenario) disturbed() bool {
	for _, f := range s.Faults {
		if f.Kind != Partition || f.For > 5*time.Second {
			return true
		}
	}
	return s.tight()
}
