//go:build unix && !linux

package tsocket

// SetNotices is for Linux only: ErrNotSupported.
func (d *Dgram) SetNotices(bool) error {
	return &OpError{Op: "set notices", Err: ErrNotSupported}
}

func recvNotice(int) *Notice { return nil }
