package cbid

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseError is returned by the functions that read text.
type ParseError struct {
	What   string // "id", "range", "rectangle"
	Text   string // the offending text, shortened when it is long
	Reason string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("cbid: %q is no %s: %s", e.Text, e.What, e.Reason)
}

func parseError(what, text, reason string) error {
	const most = 64
	if len(text) > most {
		text = text[:most] + "..."
	}
	// The clone keeps a small error from holding on to a large text.
	return &ParseError{What: what, Text: strings.Clone(text), Reason: reason}
}

// String returns "idx:val", both decimal.
func (id ID) String() string {
	var b [21]byte
	return string(id.append(b[:0]))
}

func (id ID) append(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(id.Idx), 10)
	b = append(b, ':')
	return strconv.AppendUint(b, uint64(id.Val), 10)
}

// AppendText appends String() to b. It never fails.
func (id ID) AppendText(b []byte) ([]byte, error) { return id.append(b), nil }

// MarshalText returns String(), so that an identifier is a string in JSON and
// TOML, also as the key of a map.
func (id ID) MarshalText() ([]byte, error) { return id.append(nil), nil }

// UnmarshalText reads what Parse reads.
func (id *ID) UnmarshalText(text []byte) error {
	v, err := Parse(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// Parse reads an identifier: "1:1", "0x123:0x456", "-1:-1", or a well-known
// name such as "proc". Space around it is ignored. An error is a *ParseError.
func Parse(s string) (ID, error) {
	text := strings.TrimSpace(s)
	idx, val, pair := strings.Cut(text, ":")
	if !pair {
		if id, ok := ByName(text); ok {
			return id, nil
		}
		return ID{}, parseError("id", s, "neither idx:val nor a well-known name")
	}
	i, reason := parseNumber(idx)
	if reason != "" {
		return ID{}, parseError("id", s, "idx "+reason)
	}
	v, reason := parseNumber(val)
	if reason != "" {
		return ID{}, parseError("id", s, "val "+reason)
	}
	return ID{i, v}, nil
}

// parseNumber reads a number of 32 bits; reason says why it is none.
func parseNumber(s string) (n uint32, reason string) {
	if s == "-1" {
		return 0xffffffff, "" // how the connector's documentation writes it
	}
	digits, base := s, 10
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		digits, base = s[2:], 16
	}
	v, err := strconv.ParseUint(digits, base, 32)
	switch {
	case err == nil:
		return uint32(v), ""
	case isRange(err):
		return 0, "is more than 4294967295"
	case s == "":
		return 0, "is missing"
	}
	return 0, "is not a number"
}

func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}
