package client

import "sync/atomic"

// Stats are counts since Dial, of what has no other place to be told.
type Stats struct {
	Panics        uint64 // handlers that panicked or ended their goroutine
	FailedReplies uint64 // that the broker refused: the caller is gone, or does not read
	Stray         uint64 // messages to the Bus's own port, which nobody receives
	Discarded     uint64 // messages that waited for a handler when the Bus closed
}

type counters struct {
	panics, failedReplies, stray, discarded atomic.Uint64
}

// Stats returns the counts.
func (b *Bus) Stats() Stats {
	return Stats{
		Panics: b.stats.panics.Load(), FailedReplies: b.stats.failedReplies.Load(),
		Stray: b.stats.stray.Load(), Discarded: b.stats.discarded.Load(),
	}
}
