//go:build unix && !linux

package tsocket

// SetNotices is for Linux only, and for sockets of NoticeOps: ErrNotSupported.
func (d *Dgram) SetNotices(on bool) error {
	if o, ok := d.ops.(NoticeOps); ok {
		return d.setNotices(o, on)
	}
	return &OpError{Op: "set notices", Err: ErrNotSupported}
}

func recvNotice(int) *Notice { return nil }
