package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSpeed moves 10 MB by one call over the paths that performance is judged by, and
// some more, in virtual time: what it shows is what the protocol allows, not what the
// machine does.
func TestSpeed(t *testing.T) {
	size := 10_000_000
	if raceEnabled {
		size /= 20
	}
	for _, c := range []struct {
		name  string
		link  Link
		least float64 // MB/s
	}{
		{"10 ms", Link{Latency: 5 * time.Millisecond, MTU: 1500}, 25},
		{"50 ms", Link{Latency: 25 * time.Millisecond, MTU: 1500}, 5},
		{"50 ms, 1 % loss", Link{Latency: 25 * time.Millisecond, MTU: 1500, Loss: .01}, 2.5},
		{"50 ms, 1 % loss, jumbos", Link{Latency: 25 * time.Millisecond, MTU: 9000, Loss: .01}, 2},
		{"50 ms, 1 % loss, jitter", Link{Latency: 25 * time.Millisecond, MTU: 1500, Loss: .01, Jitter: 5 * time.Millisecond}, 2},
		{"10 ms, 1 % loss", Link{Latency: 5 * time.Millisecond, MTU: 1500, Loss: .01}, 10},
		{"1 Gbit/s, 1 ms", Link{Latency: time.Millisecond / 2, MTU: 1500, Rate: 125_000_000, Queue: 1_000_000}, 80},
		{"10 Mbit/s, 20 ms, short queue", Link{Latency: 10 * time.Millisecond, MTU: 1500, Rate: 1_250_000, Queue: 20_000}, .9},
	} {
		for _, upload := range []bool{true, false} {
			t.Run(c.name+map[bool]string{true: " up", false: " down"}[upload], func(t *testing.T) {
				call := CallSpec{To: 1, Service: plainService, Request: 10, Reply: size, RequestChunk: 1 << 16, ReplyChunk: 1 << 16}
				if upload {
					call.Request, call.Reply = call.Reply, call.Request
				}
				h := Host{Services: []ServiceSpec{{ID: plainService, Accept: 2}}, Interface: 9000}
				rep := Run(&Scenario{Seed: 7, Hosts: []Host{h, h}, Link: c.link, Calls: []CallSpec{call}}, Options{})
				require.Empty(t, rep.Failures)
				speed := float64(size) / 1e6 / rep.Virtual.Seconds()
				t.Logf("%.2f MB/s, %d datagrams", speed, rep.Datagrams)
				if !raceEnabled { // a short one shows little
					assert.GreaterOrEqual(t, speed, c.least)
				}
			})
		}
	}
}
