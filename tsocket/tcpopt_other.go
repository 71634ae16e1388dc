//go:build unix && !linux

package tsocket

import "time"

func setUserTimeout(int, time.Duration) error { return ErrNotSupported }

func getUserTimeout(int) (time.Duration, error) { return 0, ErrNotSupported }

// MTUMode says what UDP does about datagrams that are larger than the path takes.
type MTUMode int

// The modes of Dgram.SetMTUMode.
const (
	MTUFragment MTUMode = iota // cut them up, on the way too
	MTUSystem                  // cut them up here, to the size that is known
	MTURefuse                  // refuse them with EMSGSIZE
	MTUProbe                   // send them whole, whatever is known
)

// SetMTUMode is for Linux only, and for sockets of MTUOps: ErrNotSupported.
func (d *Dgram) SetMTUMode(m MTUMode) error {
	if o, ok := d.ops.(MTUOps); ok {
		return byOps("set MTU mode", o.SetMTUMode(m))
	}
	return &OpError{Op: "set MTU mode", Err: ErrNotSupported}
}

// MTUMode is for Linux only, and for sockets of MTUOps: ErrNotSupported.
func (d *Dgram) MTUMode() (MTUMode, error) {
	if o, ok := d.ops.(MTUOps); ok {
		m, err := o.MTUMode()
		return m, byOps("MTU mode", err)
	}
	return 0, &OpError{Op: "MTU mode", Err: ErrNotSupported}
}

// PathMTU is for Linux only: ErrNotSupported.
func (d *Dgram) PathMTU() (int, error) {
	if o, ok := d.ops.(MTUOps); ok {
		n, err := o.PathMTU()
		return n, byOps("path MTU", err)
	}
	return 0, &OpError{Op: "path MTU", Err: ErrNotSupported}
}
