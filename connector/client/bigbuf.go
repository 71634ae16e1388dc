package client

import (
	"sync"

	"github.com/cnbus/cnbus/connector/internal/frame"
)

const (
	defaultOutBytes = 256 << 10 // of Config.OutBytes

	// bigBufLen is the length of the buffers of busy writers: as much as may wait
	// by default, and the frame that goes beyond.
	bigBufLen = defaultOutBytes + frame.MaxLen
)

// bigBufs are buffers that a burst has left, for the next one; the garbage
// collector takes those that stay. To make and clear them anew for each burst costs more than
// to fill them.
var bigBufs = sync.Pool{New: func() any { return new([bigBufLen]byte) }}

// smallBuf is the first buffer of a writer: what is more than a few messages is
// a burst.
const smallBuf = 4 << 10

// bigger returns a buffer with the bytes of b, and room for n more.
func bigger(b []byte, n int) []byte {
	switch {
	case len(b)+n <= smallBuf:
		return append(make([]byte, 0, smallBuf), b...)
	case len(b)+n > bigBufLen:
		return b // append does it
	}
	nb := bigBufs.Get().(*[bigBufLen]byte)[:len(b)]
	copy(nb, b)
	return nb
}

// giveBack puts away a buffer that bigger made.
func giveBack(b []byte) {
	if cap(b) == bigBufLen {
		bigBufs.Put((*[bigBufLen]byte)(b[:bigBufLen]))
	}
}

// rested is what a writer without work keeps of an empty buffer.
func rested(b []byte) []byte {
	if cap(b) <= smallBuf {
		return b
	}
	giveBack(b)
	return nil
}
