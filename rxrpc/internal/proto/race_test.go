//go:build race

package proto

const raceDetector = true
