//go:build !linux

package kernel

// A link is what joins a machine to its host.
type link struct{}

func (link) guestEnv() string { return "" }
