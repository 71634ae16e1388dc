package klog

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

var errKeytab = fmt.Errorf("not a keytab, or a damaged or empty one: %w", syscall.EINVAL)

// readKeytab reads a keytab, that nobody but its owner may read.
func readKeytab(path string) (*keytab.Keytab, error) {
	b, st, err := readFile(path)
	defer clear(b)
	if err == nil && !private(st) {
		err = fmt.Errorf("others than its owner may read or change it: %w", syscall.EACCES)
	}
	if err != nil {
		return nil, fail("read", path, err)
	}
	t, err := parseKeytab(b)
	return t, fail("read", path, err)
}

// parseKeytab checks the outer form first: the library's errors have the file in them, keys and all, and it trusts
// the lengths of what is in an entry.
func parseKeytab(b []byte) (*keytab.Keytab, error) {
	if len(b) < 2 || binary.BigEndian.Uint16(b) != 0x502 {
		return nil, errKeytab
	}
	whole := append(make([]byte, 0, len(b)), b[:2]...)
	defer func() { clear(whole) }()
	for r := (reader{b: b[2:]}); len(r.b) > 0; {
		n := int32(r.u32())
		if n == 0 {
			break
		}
		entry := r.take(uint32(max(n, -n)))
		if r.bad {
			return nil, errKeytab
		}
		if n < 0 {
			continue // a hole
		}
		if !goodEntry(entry) {
			return nil, errKeytab
		}
		whole = binary.BigEndian.AppendUint32(whole, uint32(n))
		whole = append(whole, entry...)
	}
	t := keytab.New()
	if guard(func() error { return t.Unmarshal(whole) }) != nil || len(t.Entries) == 0 {
		return nil, errKeytab
	}
	return t, nil
}

// goodEntry checks the lengths in an entry: number of components 2 | realm | components | type of name 4 | time 4 | version 1 |
// type of key 2 | key | perhaps version 4, where realm, components and key have their length, 2, before them.
func goodEntry(b []byte) bool {
	r := reader{b: b}
	n := r.u16()
	if n == 0 || n > maxNames {
		return false
	}
	for range n + 1 {
		r.take(uint32(r.u16()))
	}
	r.take(11)
	r.take(uint32(r.u16()))
	return !r.bad
}
