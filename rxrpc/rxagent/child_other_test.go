//go:build !linux

package rxagent_test

func child(string) {}
