package cbid

import (
	"slices"
	"strings"
)

// Set is a set of identifiers, given as rectangles of idx and val ranges. The
// zero Set and a nil *Set are empty. Its methods that only read may be called
// by several goroutines.
type Set struct {
	rects []Rect // none is empty, none is covered by another
}

// NewSet returns the union of the rectangles.
func NewSet(rects ...Rect) *Set {
	s := new(Set)
	s.Add(rects...)
	return s
}

// SetOf returns the set of the given identifiers.
func SetOf(ids ...ID) *Set {
	s := new(Set)
	for _, id := range ids {
		s.Add(Only(id))
	}
	return s
}

// Union returns a new set of all that is in any of sets; nil ones count as empty.
func Union(sets ...*Set) *Set {
	u := new(Set)
	for _, s := range sets {
		if s != nil {
			u.Add(s.rects...)
		}
	}
	return u
}

// Add puts the identifiers of rects into the set.
func (s *Set) Add(rects ...Rect) {
	for _, r := range rects {
		r = Rect{r.Idx.Clamp(), r.Val.Clamp()}
		if r.Empty() || slices.ContainsFunc(s.rects, func(have Rect) bool { return have.Covers(r) }) {
			continue
		}
		s.rects = append(slices.DeleteFunc(s.rects, r.Covers), r)
	}
}

// Contains reports whether id is in the set. It does not allocate; its time
// grows with the number of rectangles.
func (s *Set) Contains(id ID) bool {
	if s == nil {
		return false
	}
	for i := range s.rects {
		if s.rects[i].Contains(id) {
			return true
		}
	}
	return false
}

// Empty reports whether nothing is in the set.
func (s *Set) Empty() bool { return s == nil || len(s.rects) == 0 }

// Rects returns the rectangles whose union the set is. They may overlap.
func (s *Set) Rects() []Rect {
	if s == nil {
		return nil
	}
	return slices.Clone(s.rects)
}

// Clone returns a copy that shares nothing with s; empty for nil.
func (s *Set) Clone() *Set { return &Set{rects: s.Rects()} }

// String returns the set as ParseSet reads it: its rectangles with ", "
// between, or "none".
func (s *Set) String() string {
	if s.Empty() {
		return "none"
	}
	var b []byte
	for i, r := range s.rects {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = r.append(b)
	}
	return string(b)
}

// MarshalText returns String().
func (s *Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSet reads.
func (s *Set) UnmarshalText(text []byte) error {
	v, err := ParseSet(string(text))
	if err == nil {
		*s = *v
	}
	return err
}

// ParseSet reads rectangles with commas or white space between them, each as ParseRect
// reads it; "none" and empty text are the empty set. An error is a
// *ParseError for the rectangle at fault.
func ParseSet(text string) (*Set, error) {
	s := new(Set)
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
		if word == "none" {
			continue
		}
		r, err := ParseRect(word)
		if err != nil {
			return nil, err
		}
		s.Add(r)
	}
	return s, nil
}
