//go:build race

package nlconn

// raceDetector: it makes sync.Pool forget at random, so that nothing can be said of allocations.
const raceDetector = true
