package harness

import (
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// userHz is the unit of the times in /proc, the same on every Linux.
const userHz = 100

// load measures how many cores processes other than ours use.
type load struct {
	at   time.Time
	busy float64 // of the whole machine, in seconds
	own  float64 // of this process, its roles and their children
}

func startLoad() load {
	busy, own := machineBusy(), role.OwnCPU()
	return load{at: time.Now(), busy: busy, own: own.Seconds()}
}

// others returns the cores that others used since the start, 0 where that
// cannot be known.
func (l load) others() float64 {
	now := startLoad()
	wall := now.at.Sub(l.at).Seconds()
	if wall <= 0 || now.busy == 0 {
		return 0
	}
	return max(0, ((now.busy-l.busy)-(now.own-l.own))/wall)
}

// machineBusy is the time that all CPUs together were not idle, time stolen by other
// guests included, in seconds since boot; 0 without /proc.
func machineBusy() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(b))
}

// parseBusy reads the first line of /proc/stat: user nice system idle iowait irq softirq steal guest ...
func parseBusy(s string) float64 {
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0
	}
	var sum uint64
	for i, x := range f[1:9] {
		const idle, iowait = 3, 4
		if i == idle || i == iowait {
			continue
		}
		n, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return 0
		}
		sum += n
	}
	return float64(sum) / userHz
}
