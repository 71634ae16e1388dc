package klog

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKeep: the next token comes when two thirds of the last one's life are over; failures are tried again, ever more
// seldom.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		broken := errors.New("broken")
		get := func(context.Context) (*Credential, error) {
			at = append(at, time.Since(start))
			if n := len(at); n == 2 || n == 3 {
				return nil, broken
			}
			return &Credential{Begins: time.Now(), Expires: time.Now().Add(9 * time.Hour)}, nil
		}
		var used, failed int
		ctx, cancel := context.WithTimeout(t.Context(), 13*time.Hour)
		defer cancel()
		err := keep(ctx, get, func(*Credential) error { used++; return nil }, func(err error) { failed++; assert.Equal(t, broken, err) })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s := time.Second
		assert.Equal(t, []time.Duration{0, 6 * time.Hour, 6*time.Hour + 10*s, 6*time.Hour + 30*s, 12*time.Hour + 30*s}, at)
		assert.Equal(t, 3, used)
		assert.Equal(t, 2, failed)
	})
}

// TestKeepFailsAtFirst: who has given a wrong password is told.
func TestKeepFailsAtFirst(t *testing.T) {
	broken := errors.New("broken")
	get := func(context.Context) (*Credential, error) { return nil, broken }
	require.Equal(t, broken, keep(t.Context(), get, nil, nil))
	get = func(context.Context) (*Credential, error) { return &Credential{}, nil }
	require.Equal(t, broken, keep(t.Context(), get, func(*Credential) error { return broken }, nil))
}

// TestUntilNext: a token without a future does not make us ask all the time.
func TestUntilNext(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	assert.Equal(t, 40*time.Minute, untilNext(now, now, now.Add(time.Hour)))
	assert.Equal(t, minRetry, untilNext(now, now, now))
	assert.Equal(t, minRetry, untilNext(now, now.Add(-time.Hour), now.Add(time.Minute)))
}
