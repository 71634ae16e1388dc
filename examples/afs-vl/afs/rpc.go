package afs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stellar/go-xdr/xdr3"
)

// Service ids, and the UDP ports where AFS's own servers listen.
const (
	VLService   = 52
	PRService   = 73
	BOZOService = 1
	VOTEService = 50 // on the ports of the databases

	PRPort   = 7002
	VLPort   = 7003
	BOZOPort = 7007
)

// None is for a procedure without arguments or results.
type None struct{}

// Request encodes a call of a procedure.
func Request(procedure uint32, args any) ([]byte, error) {
	b := bytes.NewBuffer(binary.BigEndian.AppendUint32(nil, procedure))
	if _, err := xdr.Marshal(b, args); err != nil {
		return nil, fmt.Errorf("afs: arguments of procedure %d: %w", procedure, err)
	}
	return b.Bytes(), nil
}

// Reply decodes the results of a call.
func Reply[R any](b []byte) (R, error) {
	var r R
	if err := decode(b, &r); err != nil {
		return r, fmt.Errorf("afs: %T in a reply of %d bytes: %w", r, len(b), err)
	}
	return r, nil
}

// decode ignores what follows v, as rxgen's stubs do.
func decode(b []byte, v any) error {
	_, err := xdr.UnmarshalWithOptions(bytes.NewReader(b), v, xdr.DecodeOptions{MaxInputLen: len(b), MaxDepth: 16})
	return err
}

// A Service answers calls of its procedures.
type Service struct {
	ID         uint16
	procedures map[uint32]procedure
}

type procedure func(ctx context.Context, args []byte) ([]byte, error)

// Answer carries out the call in request and returns the reply. An error is a
// Code, to abort the call with.
func (s *Service) Answer(ctx context.Context, request []byte) ([]byte, error) {
	if len(request) < 4 {
		return nil, UnmarshalFailed
	}
	p := s.procedures[binary.BigEndian.Uint32(request)]
	if p == nil {
		return nil, NoProcedure
	}
	reply, err := p(ctx, request[4:])
	var code Code
	if err != nil && !errors.As(err, &code) {
		return nil, ServerFailed
	}
	if err != nil {
		return nil, code
	}
	return reply, nil
}

// raw adds a procedure whose arguments or results are not XDR to the end.
func (s *Service) raw(number uint32, p procedure) {
	if s.procedures == nil {
		s.procedures = map[uint32]procedure{}
	}
	s.procedures[number] = p
}

// handle adds a procedure to s.
func handle[A, R any](s *Service, number uint32, f func(ctx context.Context, args *A) (*R, error)) {
	s.raw(number, func(ctx context.Context, b []byte) ([]byte, error) {
		args := new(A)
		if decode(b, args) != nil {
			return nil, UnmarshalFailed
		}
		r, err := f(ctx, args)
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if _, err := xdr.Marshal(&out, r); err != nil {
			return nil, MarshalFailed
		}
		return out.Bytes(), nil
	})
}
