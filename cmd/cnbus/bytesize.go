package main

import (
	"fmt"
	"strconv"
	"strings"
)

// byteSize is a flag: a number of bytes, with a unit (64k, 1MiB) or without.
type byteSize int64

func (s *byteSize) String() string {
	v := int64(*s)
	for _, unit := range []string{"", "KiB", "MiB"} {
		if v == 0 || v%1024 != 0 {
			return strconv.FormatInt(v, 10) + unit
		}
		v /= 1024
	}
	return strconv.FormatInt(v, 10) + "GiB"
}

// Type names the value in the help.
func (s *byteSize) Type() string { return "bytes" }

// Set reads what String prints and what people write.
func (s *byteSize) Set(text string) error {
	num := strings.TrimRight(text, "KMGkmgiB")
	shift, ok := map[string]uint{"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20, "G": 30, "GB": 30, "GIB": 30}[strings.ToUpper(text[len(num):])]
	v, err := strconv.ParseInt(strings.TrimSpace(num), 10, 64)
	if err != nil || !ok || v <= 0 || v > (1<<40)>>shift {
		return fmt.Errorf("a number of bytes like 65536, 64k or 1MiB is wanted")
	}
	*s = byteSize(v << shift)
	return nil
}
