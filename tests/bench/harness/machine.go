package harness

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine describes in one line what the figures were measured on: processors,
// kernel, Go, and the versions of the given modules that the program is built with.
func Machine(modules ...string) string {
	parts := []string{fmt.Sprintf("%d CPUs", runtime.NumCPU())}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := cpuModel(string(b)); m != "" {
			parts[0] += " (" + m + ")"
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		parts = append(parts, unix.ByteSliceToString(u.Sysname[:])+" "+unix.ByteSliceToString(u.Release[:]))
	}
	parts = append(parts, runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			for _, m := range modules {
				if d.Path == m {
					parts = append(parts, m+" "+d.Version)
				}
			}
		}
	}
	return strings.Join(parts, ", ")
}

// cpuModel reads the first "model name" of /proc/cpuinfo.
func cpuModel(s string) string {
	for line := range strings.Lines(s) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
