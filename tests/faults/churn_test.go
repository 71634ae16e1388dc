//go:build linux

package faults

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/internal/testenv"
)

// soakEnv makes TestChurn last as long as it says, "60s" for instance.
const soakEnv = "CNBUS_SOAK"

// 1000 clients connect and die at random, while 20 others exchange counted
// messages: each of these gets all that it was sent, or is told how much it lost and
// where; and in the end nothing is left of anybody.
func TestChurn(t *testing.T) {
	s := newSite(t, brokerConfig{QueueBytes: 64 << 10})
	o := s.observer()
	first, rss := o.settled(), s.memory("VmRSS")
	before := goleak.IgnoreCurrent()

	var cells []*cell
	var groups []uint32
	var calls []cbid.ID
	for i := range uint32(4) {
		c := newCell(s, i)
		cells, groups, calls = append(cells, c), append(groups, c.group), append(calls, c.echoes...)
	}
	seed := uint64(0)
	join := func() *process {
		seed++
		return launch(t, "mob", mobConfig{
			Socket: s.cfg.Socket, Seed: seed, Slots: 250, Groups: groups, Calls: calls, Idx: 0x7000 + uint32(seed),
		})
	}
	mobs := []*process{join(), join(), join(), join()}
	defer func() {
		for _, m := range mobs {
			m.kill()
		}
	}()

	end := time.Time{}
	if text := os.Getenv(soakEnv); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		end = time.Now().Add(d)
	}
	atLeast := 8
	if raceEnabled {
		atLeast = 4 // it is slower by as much
	}
	enough := func(kills int) bool {
		for _, c := range cells {
			c.check()
			if c.posted.Load() < 10000 {
				return false
			}
		}
		return kills >= atLeast && time.Now().After(end)
	}
	rnd := rand.New(rand.NewPCG(7, 8))
	lives, kills := 0, 0
	for ; !enough(kills); kills++ {
		i := rnd.IntN(len(mobs))
		for range 11 + rnd.IntN(20) {
			mobs[i].line()
		}
		mobs[i].kill()
		lives += mobReport * 11
		mobs[i] = join()
	}
	for _, m := range mobs {
		m.kill()
	}
	require.Greater(t, lives, 1000)
	var sent, got, lost uint64
	for _, c := range cells {
		c.end()
		sent, got, lost = sent+c.sent, got+c.got, lost+c.lost
	}
	st := o.stat()
	t.Logf("%d connections, %d processes killed; %d messages sent, %d delivered, %d reported lost", st.Accepted, kills, sent, got, lost)
	assert.Equal(t, sent, got+lost)
	assert.Positive(t, lost, "the test must have filled queues")
	high := s.memory("VmHWM")
	for _, c := range cells {
		c.close()
	}
	testenv.NoLeaks(t, before)
	o.back(first)
	now := s.memory("VmRSS")
	t.Logf("the broker's memory: %d KiB at first, %d at most, %d now", rss>>10, high>>10, now>>10)
	assert.Less(t, high, mib(512))
	assert.Less(t, now-rss, mib(32), "the broker keeps up to 16 MiB of empty queues")
}
