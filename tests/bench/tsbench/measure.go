package tsbench

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A side makes at least n operations and returns how many it made.
type side func(n int) (int, error)

// measure makes one run.
func measure(s side, n int) (took, error) {
	var t took
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, err := cpuTime()
	if err != nil {
		return t, err
	}
	start := time.Now()
	if t.N, err = s(n); err != nil {
		return t, err
	}
	t.Wall = int64(time.Since(start))
	end, err := cpuTime()
	if err != nil {
		return t, err
	}
	runtime.ReadMemStats(&after)
	t.CPU, t.Allocs = end-cpu, after.Mallocs-before.Mallocs
	return t, nil
}

// cpuTime is the processor time of this process in ns.
func cpuTime() (int64, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return u.Utime.Nano() + u.Stime.Nano(), nil
}
