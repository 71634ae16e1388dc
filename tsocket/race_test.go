//go:build race

package tsocket_test

const raceEnabled = true
