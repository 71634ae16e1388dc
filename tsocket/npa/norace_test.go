//go:build !race

package npa_test

const raceEnabled = false
