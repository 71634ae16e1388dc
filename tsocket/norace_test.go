//go:build !race

package tsocket_test

const raceEnabled = false
