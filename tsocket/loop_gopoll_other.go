//go:build unix && !linux

package tsocket

import "runtime"

func newPoller() (poller, error) { return newGoPoller(), nil }

// yieldCore lets others have the core.
func yieldCore() { runtime.Gosched() }

// threadID returns a number of the thread, 0 where it has none.
func threadID() int64 { return 0 }
