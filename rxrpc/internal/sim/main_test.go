package sim

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "run this scenario alone")
	countFlag = flag.Int("sim.count", 0, "run so many scenarios")
	firstFlag = flag.Uint64("sim.first", 1, "first seed of the scenarios")
	traceFlag = flag.String("sim.trace", "", "write the packets of the scenario of -sim.seed to this file, - for standard output")
)

// scenarios is how many there are in the usual run.
const scenarios = 10_000

func TestMain(m *testing.M) { testenv.Main(m) }

// replay is the command that runs a seed alone.
func replay(seed uint64) string {
	return fmt.Sprintf("go test ./rxrpc/internal/sim -run '^TestScenarios$' -v -sim.seed=%d -sim.trace=-", seed)
}

// TestScenarios plays scenarios of seeds in order, on all processors.
func TestScenarios(t *testing.T) {
	if *seedFlag != 0 {
		one(t, *seedFlag)
		return
	}
	n := scenarios
	switch {
	case *countFlag > 0:
		n = *countFlag
	case testing.Short() || raceEnabled:
		n /= 25
	}
	var (
		next   atomic.Uint64
		wg     sync.WaitGroup
		mu     sync.Mutex // guards what follows
		total  Report
		failed int
	)
	next.Store(*firstFlag - 1)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1)
				if seed >= *firstFlag+uint64(n) {
					return
				}
				rep := play(Draw(seed), Options{})
				mu.Lock()
				total.Succeeded += rep.Succeeded
				total.Failed += rep.Failed
				total.Datagrams += rep.Datagrams
				total.Virtual += rep.Virtual
				total.Timeouts += rep.Timeouts
				total.FastRecovery += rep.FastRecovery
				total.MTUProbes += rep.MTUProbes
				total.MTULost += rep.MTULost
				if len(rep.Failures) > 0 {
					failed++
					if failed <= 10 {
						t.Errorf("seed %d: %v\n\tTo see it: %s", seed, rep, replay(seed))
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed, "scenarios failed, of %d", n)
	assert.Greater(t, total.Succeeded, 3*n, "calls that succeeded")
	for what, n := range map[string]uint64{
		"time-outs": total.Timeouts, "reductions": total.FastRecovery, "probes": total.MTUProbes, "lost probes": total.MTULost,
	} {
		assert.Positive(t, n, what)
	}
	assert.Less(t, total.MTULost, total.MTUProbes)
	t.Logf("%d time-outs, %d reductions, %d of %d probes lost", total.Timeouts, total.FastRecovery, total.MTULost, total.MTUProbes)
	t.Logf("%d scenarios: %d calls succeeded, %d did not, %d datagrams, %.0f s of virtual time",
		n, total.Succeeded, total.Failed, total.Datagrams, total.Virtual.Seconds())
}

// play runs a scenario; a panic is a failure like others.
func play(sc *Scenario, opt Options) (rep *Report) {
	defer func() {
		if v := recover(); v != nil {
			buf := make([]byte, 16<<10)
			rep = &Report{Failures: []string{fmt.Sprintf("panic: %v\n%s", v, buf[:runtime.Stack(buf, false)])}}
		}
	}()
	return Run(sc, opt)
}

// one plays one scenario and tells all of it.
func one(t *testing.T, seed uint64) {
	var w io.Writer
	switch *traceFlag {
	case "":
	case "-":
		w = os.Stdout
	default:
		f, err := os.Create(*traceFlag)
		require.NoError(t, err)
		defer f.Close()
		w = f
	}
	sc := Draw(seed)
	t.Log(sc)
	rep := play(sc, Options{Trace: w})
	t.Log(rep)
	if len(rep.Failures) > 0 {
		t.Errorf("To see it: %s", replay(seed))
	}
}

// TestDeterminism plays scenarios twice.
func TestDeterminism(t *testing.T) {
	for seed := uint64(1); seed <= 30; seed++ {
		a, b := play(Draw(seed), Options{}), play(Draw(seed), Options{})
		assert.Equal(t, a, b, "seed %d", seed)
	}
}

// TestBreaks shows that what is wrong is seen: every rule that can be broken on
// purpose is noticed in some scenario.
func TestBreaks(t *testing.T) {
	for b := BreakNothing + 1; b < breakEnd; b++ {
		rule := breakRules[b]
		require.NotEmpty(t, rule, b)
		t.Run(fmt.Sprintf("%d %s", b, rule), func(t *testing.T) {
			for seed := uint64(1); seed <= 300; seed++ {
				for _, f := range play(Draw(seed), Options{Break: b}).Failures {
					if failsBy(f, rule) {
						return
					}
				}
			}
			t.Errorf("nobody notices: %s", rule)
		})
	}
}

func failsBy(failure, rule string) bool {
	var at float64
	var rest string
	if _, err := fmt.Sscanf(failure, "%f", &at); err != nil {
		return false
	}
	for i, c := range failure {
		if c == ' ' {
			rest = failure[i+1:]
			break
		}
	}
	return len(rest) > len(rule) && rest[:len(rule)+1] == rule+":"
}
