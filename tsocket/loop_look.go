package tsocket

import "time"

// looker decides whether a loop looks for work a little longer before it
// sleeps. To be woken costs a good part of a short exchange; to look in vain costs the
// machine that time of one core. So the loop looks only while work has lately come within
// that time, and gives its core to anybody else between looks.
type looker struct {
	most  time.Duration // 0: never
	score int8          // of how the last sleeps and looks went
}

const (
	lookTurns = 200
	lookTop   = 8
	lookFrom  = 4
)

// worthwhile: never if it is not to look at all, for then the score is 0.
func (k *looker) worthwhile() bool { return k.score >= lookFrom }

// slept takes note of how long the loop slept: a short sleep should have been
// a look. The time includes the waking up itself.
func (k *looker) slept(d time.Duration) {
	switch {
	case d > 2*k.most:
		k.score = max(k.score-2, 0)
	case k.score < lookTop:
		k.score++
	}
}

// failed takes note that the loop looked for that long, in vain or not. If it was
// much longer than it should have been, others had the core: they are many, and
// whoever yields waits for all of them, where a sleeper would be woken.
func (k *looker) failed(d time.Duration) {
	if d > 3*k.most {
		k.score = 0
		return
	}
	k.score = max(k.score-1, 0)
}

// lookLonger looks again and again. found says that there is something to do, n how many
// sockets are ready.
func (l *Loop) lookLonger() (n int, found bool) {
	start := l.clock
	for range lookTurns {
		yieldCore()
		n, err := l.poll.look(l.events)
		took := time.Since(start) // which asks for one clock, where Now asks for two
		l.clock = start.Add(took)
		if took > l.look.most {
			l.look.failed(took)
			if n == 0 {
				return 0, false
			}
		}
		if n > 0 || l.pending.Load() != 0 {
			return n, true
		}
		if err != nil {
			return 0, false // sleep will say
		}
	}
	return 0, false
}
