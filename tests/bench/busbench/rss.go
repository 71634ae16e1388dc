package busbench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

var selfPID = os.Getpid()

// residentKiB is VmRSS of a process.
func residentKiB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return float64(n), err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

// openFiles is how many descriptors a process has.
func openFiles(pid int) (int, error) {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(d), err
}
