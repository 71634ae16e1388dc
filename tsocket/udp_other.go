//go:build unix && !linux

package tsocket

func newDgramOps(fd int, udp bool, local, remote Addr) DgramOps {
	return newFDDgram(fd, udp, local, remote)
}

// EnableGRO is for Linux only; it reports that nothing is done.
func (d *Dgram) EnableGRO() bool { return false }
