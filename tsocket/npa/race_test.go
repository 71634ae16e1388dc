//go:build race

package npa_test

const raceEnabled = true
