package rxkad_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/abortcode"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// TestCodes: a code is the same error whichever side found what is wrong, with the names that everybody has for it.
func TestCodes(t *testing.T) {
	for c := rxkad.Inconsistency; c <= rxkad.IllegalLevel; c++ {
		assert.Equal(t, abortcode.String(int32(c)), c.Name())
		assert.Contains(t, c.Error(), c.Name())
		var errno syscall.Errno
		assert.ErrorAs(t, c, &errno)

		remote := &rxrpc.CallError{Op: "call", Err: &rxrpc.AbortError{Code: int32(c), Remote: true}}
		local := &rxrpc.AbortError{Code: int32(c), Cause: &rxkad.Error{Code: c, Why: "for a test"}}
		for _, err := range []error{remote, local, c, fmt.Errorf("wrapped: %w", c)} {
			assert.ErrorIs(t, err, c)
			assert.Equal(t, int32(c), rxrpc.CodeOf(err), "what a handler that returns it aborts with")
			assert.False(t, errors.Is(err, c+1))
		}
	}
	assert.Empty(t, rxkad.Code(1).Name())
	assert.ErrorIs(t, rxkad.Code(1), syscall.EPROTO)
}
