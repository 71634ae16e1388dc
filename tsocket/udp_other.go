//go:build unix && !linux

package tsocket

import "context"

func newDgramOps(fd int, udp bool, local, remote Addr) DgramOps {
	return newFDDgram(fd, udp, local, remote)
}

// EnableGRO is for Linux only; it reports that nothing is done.
func (d *Dgram) EnableGRO() bool { return false }

// RecvPieces is for Linux only: ErrNotSupported.
func (d *Dgram) RecvPieces(context.Context, []Piece) (int, error) {
	return 0, &OpError{Op: "recvpieces", Err: ErrNotSupported}
}

// TryRecvPieces is for Linux only: ErrNotSupported.
func (d *Dgram) TryRecvPieces([]Piece) (int, error) {
	return 0, &OpError{Op: "recvpieces", Err: ErrNotSupported}
}
