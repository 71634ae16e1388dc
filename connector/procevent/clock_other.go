//go:build !linux

package procevent

import "time"

var began = time.Now()

func newClock() clock { return clock{} }

// sinceBoot is the clock of events; where the kernel has none it counts from the start of the process.
func sinceBoot() time.Duration { return time.Since(began) }
