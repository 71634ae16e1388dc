//go:build !unix

package natsbridge

const canTry = false

func (c *natsConn) tryFD(uintptr) bool { return true }
