package connector

import "context"

// Inline marks h as one that never blocks and calls nothing that waits for
// another callback. A carrier within the process then runs it in the goroutine of
// who sends, as the kernel does, which costs tens of nanoseconds and allocates nothing; without
// the mark a callback that blocks never blocks its sender. Other carriers make no difference.
func Inline(h Handler) Handler {
	if i, ok := h.(InterestHandler); ok {
		return inlineInterest{i}
	}
	return inline{h}
}

// IsInline reports whether h was made by Inline.
func IsInline(h Handler) bool {
	switch h.(type) {
	case inline, inlineInterest:
		return true
	}
	return false
}

type inline struct{ h Handler }

func (i inline) Handle(ctx context.Context, d *Delivery) { i.h.Handle(ctx, d) }

type inlineInterest struct{ InterestHandler }

// unmarked is h without the mark of Inline.
func unmarked(h Handler) Handler {
	switch i := h.(type) {
	case inline:
		return i.h
	case inlineInterest:
		return i.InterestHandler
	}
	return h
}
