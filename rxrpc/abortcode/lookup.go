package abortcode

import (
	"iter"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// Info is what is known of a code.
type Info struct {
	Code  int32
	Name  string // as in C: "VL_NOENT"
	Table string // "vl"; "rx", "rxgen" and "vice" are not com_err tables
	Text  string // what it means, without a full stop
	Errno syscall.Errno
}

// entry is a line of a table.
type entry struct {
	offset int32
	name   string
	text   string
}

type table struct {
	name    string
	base    int32
	entries []entry
}

// index is made when it is first asked for: most programs never are aborted.
var index = sync.OnceValue(func() map[int32]Info {
	m := make(map[int32]Info)
	for _, t := range tables {
		for _, e := range t.entries {
			code := t.base + e.offset
			if _, ok := m[code]; ok {
				continue // an alias of a name before it
			}
			m[code] = Info{Code: code, Name: e.name, Table: t.name, Text: e.text}
		}
	}
	for i, errno := range uae {
		if errno == 0 {
			continue
		}
		code := uaeBase + int32(i)
		m[code] = Info{Code: code, Name: uaeNames[i], Table: "uae", Text: errno.Error(), Errno: errno}
	}
	return m
})

// Lookup returns what is known of code; false if it has no name here.
func Lookup(code int32) (Info, bool) {
	i, ok := index()[code]
	return i, ok
}

// String returns the name of code, or else its number, with its table if it
// has one: "VL_NOENT", "363599 (vl)", "7".
func String(code int32) string {
	if i, ok := Lookup(code); ok {
		return i.Name
	}
	s := strconv.FormatInt(int64(code), 10)
	if t := Table(code); t != "" {
		s += " (" + t + ")"
	}
	return s
}

// ByName returns the code with that name.
func ByName(name string) (int32, bool) {
	for _, t := range tables {
		for _, e := range t.entries {
			if e.name == name {
				return t.base + e.offset, true
			}
		}
	}
	if i := slices.Index(uaeNames[:], name); i >= 0 && name != "" {
		return uaeBase + int32(i), true
	}
	return 0, false
}

// All returns every code that has a name, in the order of the codes.
func All() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		m := index()
		codes := make([]int32, 0, len(m))
		for c := range m {
			codes = append(codes, c)
		}
		slices.Sort(codes)
		for _, c := range codes {
			if !yield(m[c]) {
				return
			}
		}
	}
}

// letters are the characters of com_err table names; the first stands for 1.
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

// Table returns the name of the com_err table that code belongs to, as AFS
// writes it (lower case), "" for a code that can be of none.
func Table(code int32) string {
	if code < 0 && code >= -4096 {
		return "" // RxRPC's own, and errnos made negative
	}
	var name [4]byte
	at := len(name)
	for n := uint32(code) >> 8; n != 0; n >>= 6 {
		c := n & 63
		if c == 0 {
			return ""
		}
		at--
		name[at] = lower(letters[c-1])
	}
	return string(name[at:])
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
