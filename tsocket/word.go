package tsocket

import "sync/atomic"

// A word is the state of a socket: which operations are outstanding, and how
// far it is gone. Every transition is one compare-and-swap on it, so that the order in
// which a refusal is chosen is exact even when operations race.
type word struct{ v atomic.Uint32 }

const (
	bitIn            uint32 = 1 << iota // a read or receive is outstanding
	bitOut                              // a write or send is outstanding
	bitMonitor                          // a monitor is outstanding
	bitDisconnecting                    // a disconnect is outstanding
	bitDisconnected
	bitClosed
)

// enter takes the slot bit, unless check refuses.
func (w *word) enter(bit uint32, check func(v uint32) *Error) *Error {
	for {
		v := w.v.Load()
		if err := check(v); err != nil {
			return err
		}
		if w.v.CompareAndSwap(v, v|bit) {
			return nil
		}
	}
}

func (w *word) leave(bit uint32) { w.v.And(^bit) }

func (w *word) has(bit uint32) bool { return w.v.Load()&bit != 0 }

// The refusals, in the order in which the C library checks.

func mayRead(v uint32) *Error  { return mayTransfer(v, bitIn) }
func mayWrite(v uint32) *Error { return mayTransfer(v, bitOut) }

func mayTransfer(v, bit uint32) *Error {
	switch {
	case v&bitClosed != 0:
		return ErrClosed
	case v&bitDisconnecting != 0:
		return ErrDisconnecting
	case v&bit != 0:
		return ErrBusy
	case v&bitDisconnected != 0:
		return ErrNotConnected
	}
	return nil
}

func mayDisconnect(v uint32) *Error {
	switch {
	case v&bitClosed != 0:
		return ErrClosed
	case v&bitDisconnecting != 0:
		return ErrAlready
	case v&(bitIn|bitOut) != 0:
		return ErrBusy
	case v&bitDisconnected != 0:
		return ErrNotConnected
	}
	return nil
}

func mayMonitor(v uint32) *Error {
	switch {
	case v&bitClosed != 0:
		return ErrClosed
	case v&bitDisconnecting != 0:
		return ErrDisconnecting
	case v&bitMonitor != 0:
		return ErrAlready
	case v&bitDisconnected != 0:
		return ErrNotConnected
	}
	return nil
}
