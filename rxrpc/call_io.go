package rxrpc

import (
	"io"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// reportAt is how many packets are read before the owner is told, unless there are
// no more.
const reportAt = 16

// write sends p, and the end of the data behind it if end is set. It waits until the
// protocol has all of it. also is what else the owner is to do. errOutcome: the call has ended.
func (c *call) write(p []byte, end bool, also want) (int, error) {
	c.mu.Lock()
	switch {
	case c.ended:
		whole := c.outEnd && c.result.Completion == proto.Succeeded
		ok := end && len(p) == 0 && c.result.Completion == proto.Succeeded // it is the end indeed
		c.mu.Unlock()
		switch {
		case ok:
			return 0, nil
		case whole: // the reply was quick: what is wrong is the same
			return 0, ErrWriteClosed
		}
		return 0, errOutcome
	case c.outEnd:
		c.mu.Unlock()
		if end && len(p) == 0 {
			return 0, nil
		}
		return 0, ErrWriteClosed
	}
	c.out, c.outEnd, c.outBusy = p, end, true
	c.want |= wantSend | also
	c.mu.Unlock()
	c.e.submit(c)
	for {
		c.mu.Lock()
		busy, ended, refused, left := c.outBusy, c.ended, c.refused, len(c.out)
		if ended && c.result.Completion == proto.Succeeded {
			left, ended, busy = 0, false, false // the reply has come before the writer woke up
		}
		if !busy || ended {
			c.out = nil // p is the caller's again
			c.mu.Unlock()
			switch {
			case ended:
				return len(p) - left, errOutcome
			case refused != nil:
				return len(p) - left, writeError(refused)
			}
			return len(p), nil
		}
		c.mu.Unlock()
		<-c.wake
	}
}

// writeError is what Send's errors are to the application.
func writeError(err error) error {
	switch err {
	case proto.ErrPhase:
		return ErrWriteClosed
	case proto.ErrTooMuch:
		return ErrLength
	}
	return err
}

func (c *call) writeEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outEnd || c.ended
}

// read reads what is there, or waits for it. io.EOF: all was read, and a client's call has succeeded.
// errOutcome: the call has failed.
func (c *call) read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		n, packets := c.rx.read(p)
		c.took += packets
		empty := c.rx.empty()
		switch {
		case n > 0 || len(p) == 0 && !empty:
			tell := !c.ended && c.took > 0 && (empty || c.took >= reportAt)
			if tell {
				c.want |= wantConsumed
			}
			c.mu.Unlock()
			if tell {
				c.e.submit(c)
			}
			return n, nil
		case c.ended && c.result.Completion != proto.Succeeded:
			c.mu.Unlock()
			return 0, errOutcome
		case empty && (c.ended || c.rxEnd && c.server != nil):
			tell := !c.ended && c.took > 0
			if tell {
				c.want |= wantConsumed
			}
			c.mu.Unlock()
			if tell {
				c.e.submit(c)
			}
			return 0, io.EOF
		}
		c.mu.Unlock()
		<-c.wake
	}
}
