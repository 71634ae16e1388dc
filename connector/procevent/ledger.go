package procevent

// Ledger is the account of a subscription: what came, what did not, and how
// sure that is.
type Ledger struct {
	// Received counts the kernel's events that arrived, acks and those that
	// the mask then hid included.
	Received uint64

	// Delivered counts those put into the stream that Recv reads.
	Delivered uint64

	// Lost counts the missing events that were told by events of kind Lost: the larger
	// of Drops and Gaps.
	Lost uint64

	// Drops is what the kernel counted for this socket (SO_MEMINFO) when its
	// buffer was full. It is exact with any mask, and counts forged messages and
	// acks that were dropped like events.
	Drops uint64

	// Gaps is what is missing in the counters of the CPUs. They go up for every event
	// of anybody, so this is 0 while a mask is set in the kernel.
	Gaps uint64

	// CPUs are the counters for each CPU that was seen, by number.
	CPUs []CPULedger

	// Audited is set when a probe has been answered by each CPU that this process
	// may run on since the last Lost, so that nothing at the end of
	// what a CPU sent can be missing unseen.
	Audited bool

	// Overruns counts the times the buffer became full (ENOBUFS). ReadBuffer is its size now.
	Overruns   uint64
	ReadBuffer int

	// Acks counts answers to requests of this client, ForeignAcks to those of others.
	Acks, ForeignAcks uint64

	// Forged counts messages to the group that the kernel did not send. They are
	// not delivered. Malformed counts kernel messages that are no process events.
	Forged, Malformed uint64

	// Filtered counts events that came although the mask excludes them.
	Filtered uint64

	// Silences counts the times a probe stayed without an answer: somebody
	// had lowered the kernel's count of listeners.
	Silences uint64
}

// CPULedger is the account of one CPU.
type CPULedger struct {
	CPU      uint32
	Received uint64
	Gaps     uint64
	Last     uint32 // counter of the last event
}

// Complete reports whether nothing is missing, and nothing can be without a
// trace.
func (l *Ledger) Complete() bool { return l.Lost == 0 && l.Silences == 0 && l.Audited }

// maxCPU bounds what a malformed event can make the ledger allocate; the
// kernel's NR_CPUS is at most 8192.
const maxCPU = 1 << 14

type cpuAccount struct {
	seen     bool
	last     uint32
	received uint64
	gaps     uint64
}

// account does the sums. It is pure: numbers in, losses out.
type account struct {
	cpus    []cpuAccount
	masked  bool
	drops   uint64
	rawDrop uint32
	gaps    uint64
	lost    uint64
}

// event takes the counter of an event in the order of arrival and returns how many
// more are now known to be lost.
func (a *account) event(cpu, seq uint32) uint64 {
	if cpu >= maxCPU {
		return 0
	}
	if int(cpu) >= len(a.cpus) {
		a.cpus = append(a.cpus, make([]cpuAccount, int(cpu)+1-len(a.cpus))...)
	}
	c := &a.cpus[cpu]
	gap := seq - c.last - 1
	// A step back is no loss of four billion events: the counter was begun anew.
	if c.seen && !a.masked && gap < 1<<31 {
		c.gaps += uint64(gap)
		a.gaps += uint64(gap)
	}
	c.seen, c.last = true, seq
	c.received++
	return a.settle()
}

// dropped takes the socket's drop counter, which wraps.
func (a *account) dropped(counter uint32) uint64 {
	a.drops += uint64(counter - a.rawDrop)
	a.rawDrop = counter
	return a.settle()
}

// settle returns by how much the loss exceeds what was told already. Both
// sums count the same events; whichever is known first tells.
func (a *account) settle() uint64 {
	n := max(a.drops, a.gaps)
	if n <= a.lost {
		return 0
	}
	n -= a.lost
	a.lost += n
	return n
}

// mask says whether a mask is set in the kernel. The counters then skip what it
// excludes; when it goes, they are taken up from where they are.
func (a *account) mask(on bool) {
	if a.masked && !on {
		for i := range a.cpus {
			a.cpus[i].seen = false
		}
	}
	a.masked = on
}

func (a *account) fill(l *Ledger) {
	l.Lost, l.Drops, l.Gaps = a.lost, a.drops, a.gaps
	for i, c := range a.cpus {
		if c.received > 0 {
			l.CPUs = append(l.CPUs, CPULedger{CPU: uint32(i), Received: c.received, Gaps: c.gaps, Last: c.last})
		}
	}
}
