//go:build unix && !linux

package tsocket

func peerCred(int) (Cred, error) { return Cred{}, ErrNotSupported }
