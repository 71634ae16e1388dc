//go:build !linux

package main

// isNoProtocol is about Linux.
func isNoProtocol(error) bool { return false }
