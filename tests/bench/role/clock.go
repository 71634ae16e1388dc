package role

import (
	"time"

	"golang.org/x/sys/unix"
)

// The runtime reads CLOCK_MONOTONIC without a system call but shows only
// differences of it; base is the clock's value at start.
var (
	start = time.Now()
	base  = monotonic()
)

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return start.UnixNano()
	}
	return ts.Nano()
}

// Now is the time in nanoseconds on a clock that all processes of the host
// share, and that nobody sets.
func Now() int64 { return base + int64(time.Since(start)) }
