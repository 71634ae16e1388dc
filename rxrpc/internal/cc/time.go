package cc

// Time is a moment or a duration in nanoseconds, on any scale that goes forward.
type Time int64

// Units of Time.
const (
	Microsecond Time = 1000
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
)

// never is later than any deadline.
const never Time = 1<<63 - 1
