package relay

import (
	"math/rand/v2"
	"time"
)

// A Path is what happens to the datagrams of one direction. The zero value
// passes them on. Probabilities go from 0 to 1.
type Path struct {
	// Delay is how long each datagram takes, Jitter how much longer at most. Jitter
	// does not reorder: who would overtake arrives together with the one before.
	Delay, Jitter time.Duration

	Loss      float64 // is dropped
	Duplicate float64 // arrives twice
	Corrupt   float64 // one bit of it is flipped

	// Reorder is the probability that a datagram is held ReorderBy longer, so
	// that others overtake it. ReorderBy 0 is 5 ms.
	Reorder   float64
	ReorderBy time.Duration

	// MTU is the size of the largest datagram, UDP payload in bytes, that passes;
	// 0 is no limit. A larger one vanishes; with Signal its sender gets ICMP
	// "fragmentation needed", which takes the right to open a raw socket, and IPv4.
	MTU    int
	Signal bool

	// Rate is the speed of the line in bytes a second, 0 no limit; what has to wait
	// is queued up to Queue bytes, 0 for 64 KiB, and dropped beyond.
	Rate  int
	Queue int
}

// Stats counts what happened to the datagrams of one direction.
type Stats struct {
	Received int // from the sender
	Sent     int // to the receiver, copies included
	Bytes    int // sent, payload

	Lost, Duplicated, Reordered, Corrupted int
	TooBig                                 int // dropped for the MTU
	Overflow                               int // dropped for a full queue
	Filtered                               int // dropped by Config.Filter
	Refused                                int // the kernel would not send them: nobody listens there
}

// A lane is a path as one client's datagrams in one direction see it.
type lane struct {
	rng      *rand.Rand
	last     time.Duration // when the last one in order arrives
	lineFree time.Duration // when the line has sent all it has
}

func newLane(seed, client, direction uint64) *lane {
	return &lane{rng: rand.New(rand.NewPCG(seed, client<<1|direction))}
}

// A fate is what happens to a datagram.
type fate struct {
	drop bool
	at   [2]time.Duration // when its copies arrive
	n    int              // how many of at
	bit  int              // the one that is flipped, or -1
}

// fate decides about a datagram of size bytes that came at now. It draws the same
// number of random values for each, whatever the path: a change of one probability
// leaves the others' decisions as they were.
func (l *lane) fate(p *Path, s *Stats, now time.Duration, size int) fate {
	s.Received++
	loss, dup, corrupt, reorder, jitter := l.rng.Float64(), l.rng.Float64(), l.rng.Float64(), l.rng.Float64(), l.rng.Float64()
	bit, again := l.rng.Uint64(), l.rng.Float64()

	f := fate{bit: -1, drop: true}
	if p.MTU > 0 && size > p.MTU {
		s.TooBig++
		return f
	}
	if loss < p.Loss {
		s.Lost++
		return f
	}
	start := now
	if p.Rate > 0 {
		queue := p.Queue
		if queue == 0 {
			queue = 64 << 10
		}
		start = max(start, l.lineFree)
		if waiting := (start - now).Seconds() * float64(p.Rate); waiting > float64(queue) {
			s.Overflow++
			return f
		}
		start += time.Duration(float64(size) / float64(p.Rate) * float64(time.Second))
		l.lineFree = start
	}
	f.drop, f.n = false, 1
	f.at[0] = start + p.Delay + time.Duration(jitter*float64(p.Jitter))
	if reorder < p.Reorder {
		s.Reordered++
		by := p.ReorderBy
		if by == 0 {
			by = 5 * time.Millisecond
		}
		f.at[0] += by
	} else {
		f.at[0] = max(f.at[0], l.last)
		l.last = f.at[0]
	}
	if dup < p.Duplicate {
		s.Duplicated++
		f.n = 2
		f.at[1] = f.at[0] + time.Duration(again*float64(p.Jitter))
	}
	if corrupt < p.Corrupt && size > 0 {
		s.Corrupted++
		f.bit = int(bit % uint64(size*8))
	}
	return f
}
