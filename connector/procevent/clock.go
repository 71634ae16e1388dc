package procevent

import "time"

// ticksPerSecond is USER_HZ, in which /proc tells times: 100 on every
// architecture that Go runs on.
const ticksPerSecond = 100

// clock relates the time of events (CLOCK_MONOTONIC) to the start times in /proc
// (CLOCK_BOOTTIME, which counts suspension too).
type clock struct {
	offset time.Duration
}

func (c clock) ticks(t time.Duration) uint64 {
	return uint64((t + c.offset) * ticksPerSecond / time.Second)
}

// after reports whether a process that began at start began after an event at
// t, so that it is another one with the same id.
func (c clock) after(start uint64, t time.Duration) bool { return start > c.ticks(t)+1 }
