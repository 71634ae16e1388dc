package proto

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestACallIsAnswered(t *testing.T) {
	for _, size := range []int{0, 1, 4, 1171, 1172, 1173, 1411, 1412, 1413, 2824, 5000, 100_000, 1_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			w, client, server, served := pair(t, Config{}, Config{})
			req := pattern(size)
			c := client.call(CallParams{}, req)
			w.until(time.Minute, func() bool { return c.ended })
			assert.Equal(t, Result{Completion: Succeeded}, c.result)
			assert.True(t, bytes.Equal(req, c.got))
			require.Len(t, *served, 1)
			assert.True(t, bytes.Equal(req, (*served)[0].got))
			w.until(time.Minute, func() bool { return (*served)[0].ended })
			assert.Equal(t, Result{Completion: Succeeded}, (*served)[0].result)
			w.run(time.Minute)
			assert.Zero(t, client.stats.Timeouts+server.stats.Timeouts)
			assert.Zero(t, client.stats.Resent+server.stats.Resent)
			assert.Zero(t, client.stats.Dropped+server.stats.Dropped)
		})
	}
}

func TestCallsOneAfterTheOther(t *testing.T) {
	w, client, server, served := pair(t, Config{}, Config{})
	for i := range 100 {
		c := client.call(CallParams{}, []byte{byte(i)})
		w.until(time.Minute, func() bool { return c.ended })
		require.Equal(t, []byte{byte(i)}, c.got)
	}
	require.Len(t, *served, 100)
	assert.Equal(t, 1, client.stats.LiveClientConns)
	assert.Equal(t, 1, server.stats.LiveServiceConns)
	w.run(time.Second)
	assert.True(t, client.Idle())
	assert.True(t, server.Idle())
	w.run(20 * time.Minute)
	assert.Zero(t, client.stats.LiveClientConns)
	assert.Zero(t, server.stats.LiveServiceConns)
	assert.Zero(t, client.stats.LivePeers+server.stats.LivePeers)
	assert.Empty(t, client.hosts)
	assert.Empty(t, server.hosts)
	assert.Empty(t, client.bundles)
	for w.step() {
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	w, client, _, served := pair(t, Config{}, Config{})
	var tasks []*task
	for i := range 1000 {
		tasks = append(tasks, client.call(CallParams{}, pattern(i*7)))
	}
	assert.Equal(t, 64, client.stats.LiveClientConns)
	w.until(time.Minute, func() bool {
		for _, c := range tasks {
			if !c.ended {
				return false
			}
		}
		return true
	})
	for i, c := range tasks {
		require.Equal(t, Succeeded, c.result.Completion)
		require.True(t, bytes.Equal(pattern(i*7), c.got), i)
	}
	assert.Len(t, *served, 1000)
}

func TestLossReorderingAndDuplication(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, client, server, served := pair(t, Config{}, Config{})
			r := rand.New(rand.NewPCG(seed, 1))
			loss := []int{1, 5, 10, 20}[seed%4]
			w.onWire = func(from, to netip.AddrPort, b []byte) bool {
				if r.IntN(100) < 5 {
					w.queue = append(w.queue, packet{w.now.Add(time.Duration(r.IntN(20)) * time.Millisecond), from, to, b})
				}
				return r.IntN(100) >= loss
			}
			var tasks []*task
			for i := range 20 {
				tasks = append(tasks, client.call(CallParams{}, pattern(i*i*300)))
			}
			w.until(10*time.Minute, func() bool {
				for _, c := range tasks {
					if !c.ended {
						return false
					}
				}
				return true
			})
			for i, c := range tasks {
				require.Equal(t, Result{Completion: Succeeded}, c.result)
				require.True(t, bytes.Equal(pattern(i*i*300), c.got), i)
			}
			require.Len(t, *served, 20)
			w.run(time.Minute)
			assert.True(t, client.Idle())
			assert.True(t, server.Idle())
		})
	}
}
