package broker

import "time"

// spinner decides whether the loop looks for work a little longer before it
// sleeps. To be woken costs a client a good part of its round trip; to look in
// vain costs the machine spinMax of one core. So the loop looks only while work
// has lately come within that time, and gives its core to anybody else
// between looks.
type spinner struct {
	score int8 // of how the last sleeps and looks went
}

const (
	spinMax   = 20 * time.Microsecond
	spinTurns = 200
	spinTop   = 8
	spinFrom  = 4
)

func (s *spinner) worthwhile() bool { return s.score >= spinFrom }

// slept takes note of how long the loop slept: a short sleep should have been
// a look. The time includes the waking up itself.
func (s *spinner) slept(d time.Duration) {
	switch {
	case d > 2*spinMax:
		s.score = max(s.score-2, 0)
	case s.score < spinTop:
		s.score++
	}
}

// failed takes note that the loop looked for that long, in vain or not. If it was
// much longer than it should have been, others had the core: they are many, and
// whoever yields waits for all of them, where a sleeper would be woken.
func (s *spinner) failed(d time.Duration) {
	if d > 3*spinMax {
		s.score = 0
		return
	}
	s.score = max(s.score-1, 0)
}
