//go:build linux

package faults

func mobMain() error    { return nil }
func victimMain() error { return nil }
func memberMain() error { return nil }
