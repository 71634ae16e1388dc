package bussock

import (
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Describe returns a line about a message between the ends of virtual sockets, for people: `cnbus monitor`
// prints it. ok is false for any other message. What listeners are told under ids of their own is not
// recognised, because an id says nothing of what its messages are.
func Describe(m connector.Message) (line string, ok bool) {
	if m.ID != cbid.BusSock {
		return "", false
	}
	h, body, ok := parse(m.Data)
	if !ok {
		return fmt.Sprintf("bussock: malformed, %d bytes", len(m.Data)), true
	}
	switch h.op {
	case opData:
		line = fmt.Sprintf("bussock: stream %d to %d: %d bytes at %d", m.Seq, h.sock, len(body), h.arg)
		if h.flags&flagEnd != 0 {
			line += ", end"
		}
		if h.flags&flagGone != 0 {
			line += ", closed"
		}
	case opWindow:
		line = fmt.Sprintf("bussock: stream %d to %d: window up to %d", m.Seq, h.sock, h.arg)
	case opReset:
		line = fmt.Sprintf("bussock: stream %d to %d: reset, %v", m.Seq, h.sock, resetError(h, body))
	case opDgrams:
		n, whole := countDgrams(body)
		line = fmt.Sprintf("bussock: socket %d to %d: %d datagrams, %d bytes", m.Seq, h.sock, n, len(body))
		if !whole {
			line = fmt.Sprintf("bussock: socket %d to %d: malformed batch of %d bytes", m.Seq, h.sock, len(body))
		}
	case opFence:
		line = fmt.Sprintf("bussock: fence behind port %d", h.arg)
	default:
		line = fmt.Sprintf("bussock: unknown operation %#x, %d bytes", uint16(h.op), len(m.Data))
	}
	return line, true
}

func resetError(h header, body []byte) *Error {
	errno := syscall.Errno(h.arg)
	if h.arg == 0 || h.arg > maxErrno {
		errno = syscall.ECONNRESET
	}
	return &Error{Errno: errno, Text: plain(body)}
}
