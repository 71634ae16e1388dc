package tsocket

import "time"

// A poller is what a loop waits with.
type poller interface {
	// wait waits for events, for the timeout (negative: for ever), or for wake. It may
	// return none.
	wait(events []event, timeout time.Duration) (int, error)
	// look is wait that does not wait.
	look(events []event) (int, error)
	// wake makes wait return.
	wake()
	// add, set and remove are called with the seat's mutex held, and while its descriptor
	// is open. A new seat wants nothing.
	add(st *seat) error
	set(st *seat, want Ready)
	remove(st *seat)
	// oneShot: what was wanted and has come is not wanted any more.
	oneShot() bool
	// close is the last call.
	close()
}

type event struct {
	seat  *seat
	ready Ready
}

// seatKey is what an epoller keeps in a seat.
type seatKey struct{ row, uses uint32 }

// seatBusy is what a goPoller keeps in a seat: the directions that have a goroutine.
type seatBusy struct{ dirs Ready }

func (b *seatBusy) has(dir Ready) bool { return b.dirs&dir != 0 }
func (b *seatBusy) add(dir Ready)      { b.dirs |= dir }
func (b *seatBusy) remove(dir Ready)   { b.dirs &^= dir }

const maxEvents = 128
