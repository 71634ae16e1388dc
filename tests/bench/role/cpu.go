package role

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// selfCPU is the processor time of this process and its ended children.
func selfCPU() (time.Duration, error) {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return 0, fmt.Errorf("getrusage: %w", err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum, nil
}

// staff are the processes started and not yet waited for.
var staff = struct {
	sync.Mutex
	pids map[int]struct{}
}{pids: make(map[int]struct{})}

func enlist(pid int) {
	staff.Lock()
	defer staff.Unlock()
	staff.pids[pid] = struct{}{}
}

func discharge(pid int) {
	staff.Lock()
	defer staff.Unlock()
	delete(staff.pids, pid)
}

// OwnCPU is the processor time of this process, of its roles and of the
// ended children of all of them. It needs /proc for the roles.
func OwnCPU() time.Duration {
	staff.Lock()
	defer staff.Unlock()
	sum, err := selfCPU()
	if err != nil {
		return 0
	}
	for pid := range staff.pids {
		sum += procCPU(pid)
	}
	return sum
}

// CPUOf is the processor time of a process and its ended children, to the
// hundredth of a second; 0 if it is gone or there is no /proc.
func CPUOf(pid int) time.Duration { return procCPU(pid) }

// procCPU is the processor time of a process and its ended children, to the
// hundredth of a second; 0 if it is gone or there is no /proc.
func procCPU(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return parseStat(string(b))
}

// parseStat sums fields 14 to 17 of /proc/PID/stat: utime, stime, cutime, cstime. The
// second field is the name in brackets and may contain anything.
func parseStat(s string) time.Duration {
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return 0
	}
	f := strings.Fields(s[i+1:]) // begins with field 3
	if len(f) < 15 {
		return 0
	}
	var ticks uint64
	for _, x := range f[11:15] {
		n, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
