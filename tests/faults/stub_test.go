//go:build linux

package faults

func mobMain() error { return nil }
