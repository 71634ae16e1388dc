package tsocket

import "time"

// BufferOps is for streams and datagram sockets whose kernel buffers are elsewhere.
type BufferOps interface {
	// SetBuffers is that of Stream and Dgram.
	SetBuffers(receive, send int) error
}

// TCPOps is for streams that are TCP connections of somebody else. The methods are those of Stream.
type TCPOps interface {
	StreamOps
	SetNoDelay(on bool) error
	SetKeepAlive(idle, interval time.Duration, count int) error
	SetUserTimeout(d time.Duration) error
	KeepAlive() (idle, interval time.Duration, count int, err error)
	UserTimeout() (time.Duration, error)
}

// MTUOps is for datagram sockets that are UDP sockets of somebody else. The methods are those of Dgram.
type MTUOps interface {
	DgramOps
	SetMTUMode(m MTUMode) error
	MTUMode() (MTUMode, error)
	PathMTU() (int, error)
}

// byOps names the error of an option that the ops have set, or not.
func byOps(op string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Err: err}
}
