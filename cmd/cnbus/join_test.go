package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestWhyIsToldNowAndThen: what goes wrong again and again fills no log, and what is new does not wait for long.
func TestWhyIsToldNowAndThen(t *testing.T) {
	var told toldWhy
	now := time.Unix(1e9, 0)
	after := func(d time.Duration) time.Time { now = now.Add(d); return now }
	assert.True(t, told.due("a", now), "at once")
	assert.False(t, told.due("a", after(2*time.Second)))
	assert.False(t, told.due("b", after(2*time.Second)), "two reasons may take turns")
	assert.True(t, told.due("b", after(6*time.Second)))
	assert.False(t, told.due("b", after(59*time.Second)))
	assert.True(t, told.due("b", after(time.Second)))
}
