package rxrpc

import (
	"sync"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// want is what the application wants of the owner.
type want uint8

const (
	wantStart    want = 1 << iota // begin the client call of params
	wantSend                      // out
	wantConsumed                  // took
	wantAbort                     // code
	wantSettle                    // nothing but to be looked at
)

// A call is what the owner of the protocol's state and the application share of a call:
// its mailbox. The application asks by request and submit; the owner answers by storing what
// happened and by signal.
type call struct {
	e      *Endpoint
	queued bool // in the token's queue, whose mutex guards it

	// notify, if it is set, is called by the owner instead of waking a waiter. It must not
	// block, nor call into the endpoint. It is set before the call begins.
	notify func(*call, proto.What)

	// wake has room for one.
	wake chan struct{}

	// Of the owner alone.
	pc      remote.Call
	collect bool   // data that arrives goes to in at once: nobody reads
	in      []byte // what was collected; the waiter has it when the call has ended
	limit   int    // of in
	whole   bool   // all of the peer's data was collected
	settled bool   // settle has let go of it
	server  *ServerCall
	params  proto.CallParams

	// mu guards what follows.
	mu       sync.Mutex
	want     want
	code     wire.AbortCode
	out      []byte // what is left to send, borrowed from the writer until it is all taken
	outEnd   bool   // and it is the end
	outBusy  bool   // out, or its end, is not taken yet
	took     int    // packets that were read, not reported yet
	rx       bufQueue
	rxEnd    bool // the last of rx is the last there is
	discard  bool // what arrives is thrown away: a handler that does not want it
	detached bool // the application is done with the call: it goes on by itself
	refused  error
	ended    bool
	result   proto.Result
	service  wire.ServiceID // after an upgrade the new one

	reply []byte // memory for the reply of a Unary
}

func (w want) has(x want) bool { return w&x != 0 }

// signal wakes the waiter, or tells whoever wants to know.
func (c *call) signal(w proto.What) {
	if c.notify != nil {
		c.notify(c, w)
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
