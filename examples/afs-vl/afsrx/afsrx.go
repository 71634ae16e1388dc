// Package afsrx carries the procedures of package afs over RxRPC.
package afsrx

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/rxrpc"
)

// MaxRequest is how long a request may be: a file that is installed is part of one.
const MaxRequest = 256 << 20

// Handler serves s.
func Handler(s *afs.Service) rxrpc.Handler {
	return rxrpc.HandlerFunc(func(ctx context.Context, call *rxrpc.ServerCall) error {
		request, err := io.ReadAll(io.LimitReader(call, MaxRequest+1))
		if err != nil {
			return err
		}
		if len(request) > MaxRequest {
			return rxrpc.Abort(int32(afs.UnmarshalFailed))
		}
		reply, err := s.Answer(ctx, request)
		var code afs.Code
		if errors.As(err, &code) {
			return rxrpc.Abort(int32(code))
		}
		if err != nil {
			return err
		}
		_, err = call.Write(reply)
		return err
	})
}

// Call calls a procedure of a service at the client's server. What the server says no
// by is an *rxrpc.AbortError in the error.
func Call[R any](ctx context.Context, c *rxrpc.Client, service uint16, procedure uint32, args any) (R, error) {
	var none R
	request, err := afs.Request(procedure, args)
	if err != nil {
		return none, err
	}
	reply, err := c.Call(ctx, service, request)
	if err != nil {
		return none, fmt.Errorf("procedure %d: %w", procedure, err)
	}
	return afs.Reply[R](reply)
}
