package rxrpc

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
)

// sentCall is a call of the protocol to which something is sent.
type sentCall struct {
	remote.Call
	sending  func()
	released bool
}

func (s *sentCall) Send(proto.Time, []byte, bool) (int, error) {
	s.sending()
	return 0, nil
}

func (s *sentCall) Release(proto.Time) { s.released = true }
func (s *sentCall) SetTag(any)         {}

// What a handler has written may go with an event, before the owner comes to the wish it left. The handler goes on then, and
// may return while the owner is at that wish: its end must not be taken for sent.
func TestWishThatAnEventHasFulfilled(t *testing.T) {
	c := &call{want: wantSend, wake: make(chan struct{}, 1)}
	pc := &sentCall{sending: func() { // meanwhile the handler returns, as ServerCall.run does it
		c.mu.Lock()
		defer c.mu.Unlock()
		c.out, c.outEnd, c.outBusy, c.detached = nil, true, true, true
	}}
	c.pc = pc
	c.serve(0)
	assert.False(t, pc.released, "its end was not sent")
}
