package rxclient

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPacer ends a moment after somebody began to wait, each time that it is armed, and never when it is not.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacer
		for range 3 {
			ctx := p.arm()
			assert.NoError(t, ctx.Err())
			began := time.Now()
			<-ctx.Done()
			assert.Equal(t, patience, time.Since(began))
			assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded)
			p.disarm()
			again := p.arm()
			assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "for good: package context relies on it")
			<-ctx.Done()
			done := again.Done()
			p.disarm()
			select {
			case <-done:
				t.Error("it was disarmed")
			case <-time.After(2 * patience):
			}
			assert.NoError(t, again.Err())
		}
	})
}

// TestPacerCostsNothing while nobody waits: no timer runs, and nothing is allocated.
func TestPacerCostsNothing(t *testing.T) {
	var p pacer
	p.arm()
	p.disarm()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = p.arm().Err()
		p.disarm()
	}))
	assert.Nil(t, p.cur.t)
}
