//go:build !race

package tsagent_test

const raceEnabled = false
