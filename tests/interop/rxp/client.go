package rxp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cnbus/cnbus/rxrpc"
)

// Client calls the service.
type Client struct{ *rxrpc.Client }

// Request returns the beginning of a request.
func Request(op uint32, args ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, op)
	for _, a := range args {
		b = binary.BigEndian.AppendUint32(b, a)
	}
	return b
}

// Do makes a call with short arguments and returns the reply.
func (c Client) Do(ctx context.Context, op uint32, args ...uint32) ([]byte, error) {
	return c.Call(ctx, ID, Request(op, args...))
}

// Echo sends data and expects it back.
func (c Client) Echo(ctx context.Context, data []byte) error {
	request := append(Request(Echo, uint32(len(data))), data...)
	request = append(request, make([]byte, -len(data)&3)...)
	reply, err := c.Call(ctx, ID, request)
	if err != nil {
		return err
	}
	if !bytes.Equal(reply, request[4:]) {
		return fmt.Errorf("echo of %d bytes differs", len(data))
	}
	return nil
}

// Sink sends n bytes, which the server verifies if it is to.
func (c Client) Sink(ctx context.Context, n uint64, verify bool) error {
	call, err := c.NewCall(ctx, ID)
	if err != nil {
		return err
	}
	defer call.Close()
	flags := uint32(0)
	if verify {
		flags = 1
	}
	if _, err := call.Write(Request(Sink, uint32(n>>32), uint32(n), flags, 1)); err != nil {
		return err
	}
	if err := Put(call, n, 1); err != nil {
		return err
	}
	end, err := io.ReadAll(call)
	if err != nil {
		return err
	}
	if want := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, n), 0); !bytes.Equal(end, want) {
		return fmt.Errorf("the server got %x of %d bytes (with the wrong blocks)", end, n)
	}
	return nil
}

// Source receives n bytes.
func (c Client) Source(ctx context.Context, n uint64, verify bool) error {
	call, err := c.NewCall(ctx, ID)
	if err != nil {
		return err
	}
	defer call.Close()
	if _, err := call.WriteLast(Request(Source, uint32(n>>32), uint32(n), 1)); err != nil {
		return err
	}
	_, wrong, err := Get(call, n, 1, verify)
	if err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d bytes' blocks are wrong", wrong, n)
	}
	end, err := io.ReadAll(call)
	if err != nil {
		return err
	}
	if len(end) != 8 || binary.BigEndian.Uint64(end) != n {
		return errors.New("wrong total at the end")
	}
	return nil
}
