package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample are results of each mark.
func sample() []Result {
	make1 := func(r Row, pairs ...Pair) Result {
		res := newResult("bus", r)
		for i, p := range pairs {
			res.add(r, p, 0.1+float64(i))
		}
		res.finish(r)
		return res
	}
	missing := make1(Row{Name: "dbus", What: "round trip", Against: "dbus-daemon", Unit: "us", Want: 3},
		Pair{Ours: 50, Rival: math.NaN()})
	missing.Missing = "dbus-daemon"
	failed := newResult("bus", Row{Name: "events", Want: 1})
	failed.fail(errors.New("lost 3"))
	return []Result{
		make1(Row{Name: "trip", What: "round trip", Against: "NATS", Unit: "us", Want: 2},
			Pair{Ours: 50, Rival: 125, Extra: map[string]float64{"p99 us": 91.26}}, Pair{Ours: 50, Rival: 135}),
		make1(Row{Name: "rate", What: "throughput", Against: "NATS", Unit: "msg/s", Higher: true, Want: 6}, Pair{Ours: 2_500_000, Rival: 500_000}),
		make1(Row{Name: "extra", What: "more", Against: "less", Unit: "ns"}, Pair{Ours: 10, Rival: 10}),
		missing,
		failed,
	}
}

func TestJSONHasOneWellFormedObjectForEachRow(t *testing.T) {
	var b bytes.Buffer
	for _, r := range sample() {
		require.NoError(t, WriteJSON(&b, r))
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 5)
	var rows []map[string]any
	for _, l := range lines {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &m))
		for _, key := range []string{"suite", "name", "against", "ratio", "want", "unit", "mark"} {
			assert.Contains(t, m, key)
		}
		rows = append(rows, m)
	}
	assert.Equal(t, 2.6, rows[0]["ratio"])
	assert.Equal(t, 2.0, rows[0]["want"])
	assert.Equal(t, map[string]any{"median": 50.0, "min": 50.0, "max": 50.0, "rounds": []any{50.0, 50.0}}, rows[0]["ours"])
	assert.Nil(t, rows[2]["want"])
	assert.Nil(t, rows[3]["ratio"])
	assert.Equal(t, "dbus-daemon", rows[3]["missing"])
	assert.Equal(t, "lost 3", rows[4]["error"])
}

func TestTableMarksEachRowAndSaysWhatIsMissing(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b, sample()))
	assert.Equal(t, strings.TrimLeft(`
         name    ours    rival  unit   ratio  want  spread  against
ok       trip    50.0    130    us     2.60   2.00  8%      NATS
below    rate    2.50 M  500 k  msg/s  5.00   6.00  0%      NATS
info     extra   10.0    10.0   ns     1.00   -     0%      less
missing  dbus    50.0    -      us     -      3.00  -       dbus-daemon
failed   events  -       -             -      1.00  -       

trip: others used up to 1.10 cores; 1 of 2 rounds disturbed
trip: p99 us 91.3
dbus: missing: dbus-daemon
events: failed: lost 3
`, "\n"), b.String())
}

func TestMarkdownIsATable(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteMarkdown(&b, sample()[:2]))
	assert.Equal(t, strings.TrimLeft(`
| what | against | ours | rival | ratio (min to max of the rounds) | asked for | |
|---|---|---:|---:|---:|---:|---|
| round trip | NATS | 50.0 us | 130 us | **2.60** (2.50 to 2.70) | 2.00 | ok |
| throughput | NATS | 2.50 M msg/s | 500 k msg/s | 5.00 | 6.00 | below |

* trip: others used up to 1.10 cores; 1 of 2 rounds disturbed
* trip: p99 us 91.3
`, "\n"), b.String())
}

func TestFigureHasThreeDigits(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 0.00123: "0.00123", 0.1: "0.10", 1: "1.00", 9.994: "9.99", 10.04: "10.0", 99.9: "99.9", 123.4: "123",
		9999: "9999", 12_345: "12.3 k", 999_900: "1000 k", 5_612_345: "5.61 M", -12.34: "-12.3",
	} {
		assert.Equal(t, want, Figure(x), "%v", x)
	}
}
