//go:build !linux

package procevent

// child is for tests with the kernel.
func child() {}
