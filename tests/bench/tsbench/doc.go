// Package tsbench is the benchmark suite of package tsocket: each of its operations
// against what a Go programmer would write with package net instead.
//
// The measured side, ours or the rival's, is one process; both are in the same one,
// each on a socket of its own. At the other ends is a peer, a process that makes
// blocking system calls and uses neither. What is compared is the processor time of the measured
// process for each operation.
package tsbench
