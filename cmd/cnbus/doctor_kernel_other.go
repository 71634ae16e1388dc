//go:build !linux

package main

import "context"

// checkKernel is about Linux.
func checkKernel(_ context.Context, r *report) {
	r.skip("kernel", "process events exist on Linux only")
}
