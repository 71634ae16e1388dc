package cbid

import (
	"strconv"
	"strings"
)

// limit is the number after the highest one.
const limit = 1 << 32

// Range is the half-open range of numbers [First, First+Count), summed in 64
// bits: it never wraps, and what lies beyond the highest number is not in it. Every Range with Count 0 is empty.
type Range struct {
	First uint32
	Count uint64
}

// All is the range of all numbers.
var All = Range{Count: limit}

// One is the range that holds only n.
func One(n uint32) Range { return Range{n, 1} }

// Between is the range from first to last, both in it; empty when last is less
// than first.
func Between(first, last uint32) Range {
	if last < first {
		return Range{First: first}
	}
	return Range{first, uint64(last) - uint64(first) + 1}
}

// End returns the number after the last one of r, at most 1<<32. For an empty
// range it is First.
func (r Range) End() uint64 {
	// Not First+Count, which a Count near 1<<64 would wrap.
	return uint64(r.First) + min(r.Count, limit-uint64(r.First))
}

// Clamp returns r with its Count cut to what exists.
func (r Range) Clamp() Range { return Range{r.First, r.End() - uint64(r.First)} }

// Empty reports whether no number is in r.
func (r Range) Empty() bool { return r.Count == 0 }

// Contains reports whether n is in r. It does not allocate.
func (r Range) Contains(n uint32) bool { return n >= r.First && uint64(n)-uint64(r.First) < r.Count }

// Covers reports whether every number of other is in r.
func (r Range) Covers(other Range) bool {
	return other.Empty() || !r.Empty() && r.First <= other.First && other.End() <= r.End()
}

// String returns the range as ParseRange reads it: "5", "1-10", "256-*", "*",
// and "none" for an empty one.
func (r Range) String() string { return string(r.append(nil)) }

func (r Range) append(b []byte) []byte {
	end := r.End()
	switch {
	case r.Empty():
		return append(b, "none"...)
	case r.First == 0 && end == limit:
		return append(b, '*')
	}
	b = strconv.AppendUint(b, uint64(r.First), 10)
	switch {
	case end == uint64(r.First)+1:
	case end == limit:
		b = append(b, "-*"...)
	default:
		b = append(b, '-')
		b = strconv.AppendUint(b, end-1, 10)
	}
	return b
}

// MarshalText returns String().
func (r Range) MarshalText() ([]byte, error) { return r.append(nil), nil }

// UnmarshalText reads what ParseRange reads.
func (r *Range) UnmarshalText(text []byte) error {
	v, err := ParseRange(string(text))
	if err == nil {
		*r = v
	}
	return err
}

// ParseRange reads a range: a number, "first-last" with both ends in it,
// "first-*" up to the highest number, "*" for all, "none" for an empty one.
// An error is a *ParseError.
func ParseRange(s string) (Range, error) {
	text := strings.TrimSpace(s)
	switch text {
	case "*":
		return All, nil
	case "none":
		return Range{}, nil
	}
	// A minus at the start belongs to -1.
	cut := strings.IndexByte(text[min(1, len(text)):], '-')
	if cut < 0 {
		n, reason := parseNumber(text)
		if reason != "" {
			return Range{}, parseError("range", s, "the number "+reason)
		}
		return One(n), nil
	}
	cut++ // as an index of text
	first, reason := parseNumber(text[:cut])
	if reason != "" {
		return Range{}, parseError("range", s, "the first number "+reason)
	}
	last := uint32(limit - 1)
	if end := text[cut+1:]; end != "*" {
		if last, reason = parseNumber(end); reason != "" {
			return Range{}, parseError("range", s, "the last number "+reason)
		}
	}
	if last < first {
		return Range{}, parseError("range", s, "it ends before it begins")
	}
	return Between(first, last), nil
}
