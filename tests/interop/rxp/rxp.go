// Package rxp is the service of rxpeer, the peer in C on OpenAFS's Rx library, in Go: rxpeer's
// client calls it, and its calls are what rxpeer's server answers. See
// ../openafs/peer/rxp.xg.
package rxp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
)

// ID is the number of the service.
const ID = 4242

// Operations. All integers are big-endian.
const (
	Nop        = 1 // u32 x -> u32 x+1
	Echo       = 2 // opaque<> -> the same
	Sink       = 3 // u64 n, u32 flags (1: verify), u32 seed, n bytes -> u64 got, u64 wrong blocks
	Source     = 4 // u64 n, u32 seed -> n bytes, u64 n
	Fail       = 5 // i32 code -> aborts with it
	Delay      = 6 // u32 ms -> u32 ms, so much later
	SourceFail = 8 // u64 n, u32 seed, i32 code -> n bytes, then aborts with code
)

// BlockSize is how much is read and written at a time. The data of the bulk calls is made of
// blocks of this size.
const BlockSize = 65536

// maxEcho is the longest opaque<> that is taken.
const maxEcho = 1 << 20

// Fast is a handler for Nop alone, whose request is read at once.
func Fast(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
	if len(request) != 8 || binary.BigEndian.Uint32(request) != Nop {
		return nil, rxrpc.Abort(rxrpc.BadOpcode)
	}
	return binary.BigEndian.AppendUint32(dst, binary.BigEndian.Uint32(request[4:])+1), nil
}

// Service is a handler for all of them.
type Service struct {
	// Other, if it is set, is called for other operations.
	Other func(ctx context.Context, call *rxrpc.ServerCall, op uint32) error
}

// ServeRx executes a call.
func (s *Service) ServeRx(ctx context.Context, call *rxrpc.ServerCall) error {
	op, err := readU32(call)
	if err != nil {
		return err
	}
	switch op {
	case Nop:
		x, err := readU32(call)
		if err != nil {
			return err
		}
		return writeU32(call, x+1)
	case Echo:
		return echo(call)
	case Sink:
		n, flags, seed, err := bulkArgs(call, true)
		if err != nil {
			return err
		}
		got, wrong, err := Get(call, n, seed, flags&1 != 0)
		if err != nil {
			return err
		}
		_, err = call.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, got), wrong))
		return err
	case Source, SourceFail:
		n, _, seed, err := bulkArgs(call, false)
		if err != nil {
			return err
		}
		code := uint32(0)
		if op == SourceFail {
			if code, err = readU32(call); err != nil {
				return err
			}
		}
		if err := Put(call, n, seed); err != nil {
			return err
		}
		if op == SourceFail {
			return rxrpc.Abort(int32(code))
		}
		_, err = call.Write(binary.BigEndian.AppendUint64(nil, n))
		return err
	case Fail:
		code, err := readU32(call)
		if err != nil {
			return err
		}
		return rxrpc.Abort(int32(code))
	case Delay:
		return delay(ctx, call)
	}
	if s.Other != nil {
		return s.Other(ctx, call, op)
	}
	return rxrpc.Abort(rxrpc.BadOpcode)
}

func delay(ctx context.Context, call *rxrpc.ServerCall) error {
	ms, err := readU32(call)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	return writeU32(call, ms)
}

func echo(call *rxrpc.ServerCall) error {
	n, err := readU32(call)
	if err != nil {
		return err
	}
	if n > maxEcho {
		return rxrpc.Abort(-453) // RXGEN_SS_UNMARSHAL
	}
	b := make([]byte, 4+(n+3)&^3)
	binary.BigEndian.PutUint32(b, n)
	if _, err := io.ReadFull(call, b[4:]); err != nil {
		return err
	}
	_, err = call.Write(b)
	return err
}

func bulkArgs(r io.Reader, sink bool) (n uint64, flags, seed uint32, err error) {
	b := make([]byte, 12, 16)
	if sink {
		b = b[:16]
	}
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, 0, 0, err
	}
	if sink {
		flags = binary.BigEndian.Uint32(b[8:])
	}
	return binary.BigEndian.Uint64(b), flags, binary.BigEndian.Uint32(b[len(b)-4:]), nil
}

func readU32(r io.Reader) (uint32, error) {
	var b [4]byte
	_, err := io.ReadFull(r, b[:])
	return binary.BigEndian.Uint32(b[:]), err
}

func writeU32(w io.Writer, x uint32) error {
	_, err := w.Write(binary.BigEndian.AppendUint32(nil, x))
	return err
}

// blocks are kept: the peer in C allocates one for each call, which costs it nothing.
var blocks = sync.Pool{New: func() any { return new([BlockSize]byte) }}

// fill makes b the pattern of a seed: byte k is seed + 31 k + 7 (k >> 8), and the first 8 are
// the number of the block.
func fill(b *[BlockSize]byte, seed uint32) {
	for k := range b {
		b[k] = byte(seed + uint32(31*k+7*(k>>8)))
	}
}

// Put writes n bytes of the pattern.
func Put(w io.Writer, n uint64, seed uint32) error {
	b := blocks.Get().(*[BlockSize]byte)
	defer blocks.Put(b)
	fill(b, seed)
	for off := uint64(0); off < n; off += BlockSize {
		binary.BigEndian.PutUint64(b[:], off/BlockSize)
		if _, err := w.Write(b[:min(BlockSize, n-off)]); err != nil {
			return err
		}
	}
	return nil
}

// Get reads n bytes, and with verify counts the blocks that are not the pattern. The numbers of the
// blocks are looked at in any case.
func Get(r io.Reader, n uint64, seed uint32, verify bool) (got, wrong uint64, err error) {
	b := blocks.Get().(*[BlockSize]byte)
	defer blocks.Put(b)
	var want *[BlockSize]byte
	if verify {
		want = blocks.Get().(*[BlockSize]byte)
		defer blocks.Put(want)
		fill(want, seed)
	}
	for got < n {
		k, err := io.ReadFull(r, b[:min(BlockSize, n-got)])
		if err != nil {
			return got + uint64(k), wrong, err
		}
		if k >= 8 && binary.BigEndian.Uint64(b[:]) != got/BlockSize {
			return got, wrong, fmt.Errorf("block %d has number %d", got/BlockSize, binary.BigEndian.Uint64(b[:]))
		}
		if verify {
			binary.BigEndian.PutUint64(want[:], got/BlockSize)
			if !bytes.Equal(b[:k], want[:k]) {
				wrong++
			}
		}
		got += uint64(k)
	}
	return got, wrong, nil
}
