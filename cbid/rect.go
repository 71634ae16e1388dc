package cbid

import "strings"

// Rect is all identifiers whose Idx lies in Idx and whose Val lies in Val.
type Rect struct {
	Idx, Val Range
}

// Everything is the rectangle of all identifiers.
var Everything = Rect{All, All}

// Only is the rectangle that holds only id.
func Only(id ID) Rect { return Rect{One(id.Idx), One(id.Val)} }

// Empty reports whether no identifier is in r.
func (r Rect) Empty() bool { return r.Idx.Empty() || r.Val.Empty() }

// Contains reports whether id is in r. It does not allocate.
func (r Rect) Contains(id ID) bool { return r.Idx.Contains(id.Idx) && r.Val.Contains(id.Val) }

// Covers reports whether every identifier of other is in r.
func (r Rect) Covers(other Rect) bool {
	return other.Empty() || r.Idx.Covers(other.Idx) && r.Val.Covers(other.Val)
}

// String returns the rectangle as ParseRect reads it, "idx:val".
func (r Rect) String() string { return string(r.append(nil)) }

func (r Rect) append(b []byte) []byte {
	b = r.Idx.append(b)
	b = append(b, ':')
	return r.Val.append(b)
}

// ParseRect reads a rectangle: two ranges with a colon between ("1:1",
// "0x100-0x1ff:*"), a well-known name, or "*" for all identifiers.
// An error is a *ParseError.
func ParseRect(s string) (Rect, error) {
	text := strings.TrimSpace(s)
	if text == "*" {
		return Everything, nil
	}
	idx, val, pair := strings.Cut(text, ":")
	if !pair {
		if id, ok := ByName(text); ok {
			return Only(id), nil
		}
		return Rect{}, parseError("rectangle", s, "neither idx:val nor a well-known name")
	}
	i, err := ParseRange(idx)
	if err != nil {
		return Rect{}, parseError("rectangle", s, "idx: "+err.(*ParseError).Reason)
	}
	v, err := ParseRange(val)
	if err != nil {
		return Rect{}, parseError("rectangle", s, "val: "+err.(*ParseError).Reason)
	}
	return Rect{i, v}, nil
}
