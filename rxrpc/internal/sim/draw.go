package sim

import "time"

// What a scenario draws from.
const (
	plainService   = 100
	betterService  = 101 // what plainService becomes
	sealedService  = 200
	chargedService = 300
	manualService  = 400
)

// Draw makes the scenario of a seed. Most are small, so that there can be many; no two
// dimensions exclude each other.
func Draw(seed uint64) *Scenario {
	r := newRNG(seed, 1)
	s := &Scenario{Seed: seed, IPv6: r.chance(.25)}
	n := r.between(2, 4)
	for range n {
		s.Hosts = append(s.Hosts, drawHost(r))
	}
	s.Link = drawLink(r)
	drawCalls(s, r)
	drawFaults(s, r)
	if r.chance(.2) {
		s.Rubbish = float64(r.between(5, 200))
	}
	if s.Link.Corrupt > 0 && r.chance(.5) {
		s.NoChecksum = true
	}
	if r.chance(.3) {
		s.Slack = r.duration(0, 3*time.Millisecond)
	}
	return s
}

func drawHost(r *rng) Host {
	h := Host{NAT: r.chance(.2)}
	h.Services = []ServiceSpec{
		{ID: plainService, Upgrade: betterService, Accept: 2},
		{ID: sealedService, Sealed: true, Accept: 2},
		{ID: chargedService},
		{ID: manualService, Accept: 1},
	}
	if r.chance(.3) {
		h.Services[0].Upgrade = 0
	}
	if r.chance(.25) {
		h.Receive = r.between(1, 40)
	}
	if r.chance(.15) {
		h.Send = r.between(1, 40)
	}
	h.NoJumbo = r.chance(.3)
	h.NoProbe = r.chance(.2)
	if r.chance(.3) {
		h.JumboMax = r.between(1, 8)
	}
	switch r.IntN(4) {
	case 0:
		h.Interface = r.between(1200, 1500)
	case 1:
		h.Interface = r.between(4000, 65000)
	}
	if r.chance(.15) {
		if h.Old.Words = r.between(1, 3); h.Old.Words < 3 && h.Receive < 15 {
			h.Receive = 0 // who does not say is taken to have 15
		}
	}
	if r.chance(.15) {
		h.Old.Soft = r.between(1, 30)
	}
	h.Tight = r.chance(.06)
	if r.chance(.5) {
		h.Start = []int{1412, 1444, 600, 1300}[r.IntN(4)]
	}
	return h
}

func drawLink(r *rng) Link {
	l := Link{Latency: []time.Duration{0, 20 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}[r.IntN(6)]}
	if r.chance(.4) {
		l.Jitter = time.Duration(float64(l.Latency) * r.Float64())
	}
	switch r.IntN(6) {
	case 0, 1:
		l.Loss = .02 * r.Float64()
	case 2:
		l.Loss, l.Burst = .005*r.Float64(), r.between(2, 8)
	case 3:
		l.Loss = .15 * r.Float64()
	}
	if r.chance(.25) {
		l.Reorder = .1 * r.Float64()
	}
	if r.chance(.25) {
		l.Dup = .1 * r.Float64()
	}
	if r.chance(.15) {
		l.Corrupt = .05 * r.Float64()
	}
	if r.chance(.2) {
		l.Rate = r.between(100_000, 10_000_000)
		l.Queue = r.between(20_000, 300_000)
	}
	switch r.IntN(6) {
	case 0:
		l.MTU, l.ICMP = r.between(1280, 1500), r.chance(.5)
	case 1:
		l.MTU, l.ICMP = []int{1500, 3000, 9000}[r.IntN(3)], r.chance(.5)
	case 2:
		l.MTU, l.ICMP = 9000, r.chance(.5)
		l.Narrow, l.At = r.between(1280, 1500), r.duration(0, 2*time.Second)
	case 3:
		l.MTU = 1500
	case 4:
		if r.chance(.3) {
			l.MTU, l.ICMP = r.between(600, 1280), r.chance(.5)
		}
	}
	l.NoFrags = l.MTU > 0 && r.chance(.1)
	return l
}

// drawSize draws how long a request or reply is: often on the edges of packets.
func drawSize(r *rng, most int) int {
	n := 0
	switch x := r.IntN(100); {
	case x < 8:
	case x < 35:
		n = r.between(1, 64)
	case x < 55:
		n = []int{1172, 1300, 1400, 1404, 1412, 1444, 2824, 5648}[r.IntN(8)]*r.between(1, 4) + r.between(-2, 2)
	case x < 80:
		n = r.between(64, 20_000)
	case x < 95:
		n = r.between(20_000, 200_000)
	case x < 99:
		n = r.between(200_000, 1_000_000)
	default:
		n = r.between(1_000_000, 4_000_000)
	}
	return min(n, most)
}

func drawChunk(r *rng, size int) int {
	switch r.IntN(4) {
	case 0:
		return max(size, 1)
	case 1:
		return r.between(1, 1500) + size/50
	case 2:
		return 1412
	}
	return r.between(1000, 100_000)
}

// budget bounds the bytes of all calls of a scenario, and so its time.
const budget = 2_000_000

func drawCalls(s *Scenario, r *rng) {
	n, most := r.between(1, 12), budget
	if r.chance(.05) {
		n, most = r.between(50, 150), 3000 // many small ones at once
	}
	chain := r.chance(.3)
	if s.Link.Rate > 0 {
		most = min(most, 2*s.Link.Rate)
	}
	left := budget
	if r.chance(.95) {
		left = 600_000
	}
	spread := r.duration(0, 3*time.Second)
	odd := r.chance(.3) // calls that do not go well
	for range n {
		c := drawCall(s, r, min(most, left), odd)
		c.At = time.Duration(float64(spread) * r.Float64())
		if k := len(s.Calls); chain && k > 0 && r.chance(.7) {
			// One after the other on the same channel.
			o := &s.Calls[k-1]
			c.After, c.From, c.To, c.At = k, o.From, o.To, 0
			if r.chance(.3) {
				c.At = r.duration(0, 300*time.Millisecond)
			}
			if !c.RejectByAbort && !c.RejectByBusy {
				c.Service, c.Sealed, c.Upgrade = o.Service, o.Sealed, o.Upgrade
			}
		}
		left = max(left-c.Request-c.Reply, 100)
		s.Calls = append(s.Calls, c)
	}
}

func drawCall(s *Scenario, r *rng, most int, odd bool) CallSpec {
	c := CallSpec{From: r.IntN(len(s.Hosts)), To: r.IntN(len(s.Hosts))}
	if c.To == c.From || s.Hosts[c.To].NAT {
		// Nobody calls into a NAT.
		for i := range s.Hosts {
			if i != c.From && !s.Hosts[i].NAT {
				c.To = i
			}
		}
		if c.To == c.From || s.Hosts[c.To].NAT {
			c.To = (c.From + 1) % len(s.Hosts)
			s.Hosts[c.To].NAT = false
		}
	}
	switch r.IntN(8) {
	case 0, 1:
		c.Service, c.Sealed = sealedService, true
	case 2:
		c.Service = chargedService
	case 3:
		c.Service = manualService
	case 4:
		c.Service, c.Upgrade = plainService, true
	default:
		c.Service = plainService
		c.Sealed = r.chance(.1)
	}
	c.Exclusive = r.chance(.1)
	c.Request = drawSize(r, most/2)
	c.Reply = drawSize(r, most-c.Request)
	c.RequestChunk, c.ReplyChunk = drawChunk(r, c.Request), drawChunk(r, c.Reply)
	c.TailEmpty, c.TxLength = r.chance(.2), r.chance(.2)
	c.ReleaseEarly = r.chance(.2)
	if r.chance(.3) {
		c.Think = r.duration(0, 200*time.Millisecond)
	}
	if r.chance(.05) {
		c.Think = r.duration(0, 40*time.Second)
	}
	if r.chance(.1) {
		c.ClientReads = r.duration(time.Millisecond, 30*time.Millisecond)
	}
	if r.chance(.1) {
		c.ServerReads = r.duration(time.Millisecond, 30*time.Millisecond)
	}
	if !odd || r.chance(.5) {
		return c
	}
	soon := r.duration(1, time.Second)
	switch r.IntN(7) {
	case 0:
		c.ClientAborts = soon
	case 1:
		c.ServerAborts = soon
	case 2:
		c.Abandon = soon
	case 3:
		c.Hard, c.NoAnswer = soon, true
	case 4:
		c.Hard = soon
	case 5:
		c.Service, c.Sealed, c.Upgrade, c.RejectByAbort = manualService, false, false, true
	case 6:
		c.Service, c.Sealed, c.Upgrade, c.RejectByBusy, c.Hard = manualService, false, false, true, 5*time.Second
	}
	return c
}

func drawFaults(s *Scenario, r *rng) {
	for i, h := range s.Hosts {
		if r.chance(.06) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Partition, i, r.duration(time.Millisecond, 4*time.Second)})
		}
		if r.chance(.02) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Partition, i, r.duration(4*time.Second, 60*time.Second)})
		}
		if h.NAT && r.chance(.3) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Rebind, i, 0})
		}
		if r.chance(.04) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Restart, i, r.duration(0, 2*time.Second)})
		}
		if r.chance(.02) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Refuse, i, r.duration(0, 2*time.Second)})
		}
		if r.chance(.02) {
			s.Faults = append(s.Faults, Fault{r.duration(0, 3*time.Second), Shutdown, i, 0})
		}
	}
}
