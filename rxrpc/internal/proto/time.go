package proto

import (
	"math"
	"time"
)

// Time is an instant: nanoseconds on a scale of the caller's choice that does not
// go backwards.
type Time int64

// never is after every instant.
const never Time = math.MaxInt64

// Add returns the instant d after t; it does not overflow.
func (t Time) Add(d time.Duration) Time {
	if d > 0 && t > never-Time(d) {
		return never
	}
	return t + Time(d)
}

// Sub returns how long t is after u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }
