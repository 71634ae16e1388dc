package main

import "strconv"

func uidLabel(uid uint32) string { return strconv.FormatUint(uint64(uid), 10) }
