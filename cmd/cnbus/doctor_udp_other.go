//go:build !linux

package main

// checkUDP is about Linux.
func checkUDP(r *report) { r.skip("udp", "known of Linux only") }
