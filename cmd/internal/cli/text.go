package cli

import (
	"encoding/hex"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cnbus/cnbus/cbid"
)

// ID is an id for people: its well-known name, if it has one, and the numbers.
func ID(id cbid.ID) string {
	if name, ok := id.Name(); ok {
		return name + " " + numbers(id)
	}
	return numbers(id)
}

func numbers(id cbid.ID) string {
	if id == cbid.Control {
		return "-1:-1"
	}
	return id.String()
}

// IsText reports whether b reads well in a terminal: printable UTF-8, perhaps
// with a NUL at the end as C programs send it.
func IsText(b []byte) bool {
	b = trimNUL(b)
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}

func trimNUL(b []byte) []byte {
	if n := len(b); n > 1 && b[n-1] == 0 {
		return b[:n-1]
	}
	return b
}

// Data is message data on one line: text in quotes, or else hexadecimal; cut at
// limit bytes if that is not 0.
func Data(b []byte, limit int) string {
	more := ""
	if limit > 0 && len(b) > limit {
		more = fmt.Sprintf("… (%d bytes)", len(b))
		b = b[:limit]
	}
	switch {
	case len(b) == 0:
		return "(empty)"
	case IsText(b):
		return strconv.Quote(string(trimNUL(b))) + more
	}
	return hex.EncodeToString(b) + more
}

// Text is message data for a line of its own: text as it is, or hexadecimal.
func Text(b []byte) string {
	if IsText(b) {
		return string(trimNUL(b))
	}
	return hex.EncodeToString(b)
}

// ParseHex reads hexadecimal bytes, with white space or colons between them.
func ParseHex(s string) ([]byte, error) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == ':' {
			return -1
		}
		return r
	}, strings.TrimPrefix(s, "0x"))
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, Usagef("%q is not hexadecimal: %v", s, err)
	}
	return b, nil
}

var users sync.Map // uint32 -> string

// User is the name of a uid, or its number.
func User(uid uint32) string {
	if name, ok := users.Load(uid); ok {
		return name.(string)
	}
	name := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	users.Store(uid, name)
	return name
}

// Bytes is a number of bytes with a binary unit.
func Bytes[T int | int64 | uint64](n T) string {
	v := float64(n)
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if v < 1024 {
			if unit == "B" || v >= 100 {
				return fmt.Sprintf("%.0f %s", v, unit)
			}
			return fmt.Sprintf("%.1f %s", v, unit)
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1f TiB", v)
}

// Count is a number with a thin gap between groups of three digits, from 10 000 up.
func Count[T int | int64 | uint64](n T) string {
	s := fmt.Sprint(n)
	if len(s) <= 4 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Duration is a duration with three significant digits.
func Duration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return fmt.Sprintf("%.3gµs", float64(d)/float64(time.Microsecond))
	case d < time.Second:
		return fmt.Sprintf("%.3gms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3gs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// Clock is the time of day of t, to the millisecond.
func Clock(t time.Time) string { return t.Format("15:04:05.000") }
