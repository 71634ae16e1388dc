package procevent

import (
	"time"

	"golang.org/x/sys/unix"
)

func newClock() clock {
	return clock{offset: now(unix.CLOCK_BOOTTIME) - now(unix.CLOCK_MONOTONIC)}
}

func now(id int32) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// sinceBoot is the clock of events.
func sinceBoot() time.Duration { return now(unix.CLOCK_MONOTONIC) }
