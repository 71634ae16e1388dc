//go:build !race

package nlconn

const raceDetector = false
