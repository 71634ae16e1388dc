// Package e2e runs the programs as a user does: the built binaries, as other
// processes, without root. Its tests need Linux.
package e2e
