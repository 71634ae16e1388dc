package tsocket

// MaxWriteOps is for streams that take only so much in one write, as one that is
// made of messages. More is refused with ErrTooLong, before anything else is looked
// at, and the stream stays as it was.
type MaxWriteOps interface {
	StreamOps
	// MaxWrite returns the largest sum of a Writev. It is asked once.
	MaxWrite() int64
}

// noLimit is the largest sum where there is no MaxWrite.
const noLimit = 1<<63 - 1
