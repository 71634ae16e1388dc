//go:build unix

package natsbridge

import (
	"errors"
	"syscall"
)

// canTry: see natsConn.tryFD.
const canTry = true

// tryFD writes what fits of c.b.
func (c *natsConn) tryFD(fd uintptr) bool {
	for c.n < len(c.b) {
		n, err := syscall.Write(int(fd), c.b[c.n:])
		switch {
		case err == nil:
			c.n += n
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			c.err = err
			return true
		}
	}
	return true
}
