package cbid

// Set is a set of identifiers, given as rectangles of idx and val ranges.
type Set struct {
	rects []Rect
}

// Rect is all identifiers whose Idx lies in Idx and whose Val lies in Val.
type Rect struct {
	Idx, Val Range
}

// Range is the half-open range of numbers [First, First+Count), summed in 64
// bits: it never wraps. Count is at most 1<<32.
type Range struct {
	First uint32
	Count uint64
}
