package cbid

import "slices"

// Equal reports whether the same identifiers are in both sets, however they are
// cut into rectangles. It takes a time of the order of the square of their number.
func (s *Set) Equal(other *Set) bool {
	var a, b []Rect
	if s != nil {
		a = s.rects
	}
	if other != nil {
		b = other.rects
	}
	// Between two neighbouring edges of any rectangle all columns are alike, so
	// one column for each gap is enough.
	edges := []uint64{0}
	for _, rects := range [][]Rect{a, b} {
		for _, r := range rects {
			edges = append(edges, uint64(r.Idx.First), r.Idx.End())
		}
	}
	slices.Sort(edges)
	var u, v []Range
	for _, x := range slices.Compact(edges) {
		if x == limit {
			break
		}
		u, v = column(u[:0], a, uint32(x)), column(v[:0], b, uint32(x))
		if !slices.Equal(u, v) {
			return false
		}
	}
	return true
}

// column appends the vals that rects have at idx, as sorted ranges that do not touch.
func column(to []Range, rects []Rect, idx uint32) []Range {
	for _, r := range rects {
		if r.Idx.Contains(idx) {
			to = append(to, r.Val)
		}
	}
	slices.SortFunc(to, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		if a.First > b.First {
			return 1
		}
		return 0
	})
	n := 0
	for _, r := range to {
		if n > 0 && uint64(r.First) <= to[n-1].End() {
			if end := r.End(); end > to[n-1].End() {
				to[n-1].Count = end - uint64(to[n-1].First)
			}
			continue
		}
		to[n] = r
		n++
	}
	return to[:n]
}
