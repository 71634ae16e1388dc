package rxbench

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/cnbus/cnbus/rxrpc"
)

// The service of rxpeer (rxp.xg), as far as it is measured. All integers are big-endian.
const (
	serviceID = 4242
	opNop     = 1  // u32 x -> u32 x+1
	opSink    = 3  // u64 n, u32 flags, u32 seed, n bytes -> u64 got, u64 bad
	opSource  = 4  // u64 n, u32 seed -> n bytes, u64 sent
	opMeet    = 99 // ours: replies when as many calls are there as its u32 says
)

// blockSize is how much both sides read and write at a time. The first 8 bytes of a
// block are its number.
const blockSize = 65536

// fast serves Nop, for which a call is read at once.
func fast(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
	if len(request) != 8 || binary.BigEndian.Uint32(request) != opNop {
		return nil, rxrpc.Abort(rxrpc.BadOpcode)
	}
	return binary.BigEndian.AppendUint32(dst, binary.BigEndian.Uint32(request[4:])+1), nil
}

// server serves what is written and read in pieces.
type server struct {
	mu      sync.Mutex
	waiting []chan struct{}
	blocks  sync.Pool
}

func (s *server) ServeRx(ctx context.Context, call *rxrpc.ServerCall) error {
	var head [20]byte
	if _, err := io.ReadFull(call, head[:4]); err != nil {
		return err
	}
	switch binary.BigEndian.Uint32(head[:]) {
	case opNop:
		if _, err := io.ReadFull(call, head[:4]); err != nil {
			return err
		}
		_, err := call.Write(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(head[:])+1))
		return err
	case opSink:
		if _, err := io.ReadFull(call, head[:16]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint64(head[:])
		got, err := s.receive(call, n)
		if err != nil {
			return err
		}
		_, err = call.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, got), 0))
		return err
	case opSource:
		if _, err := io.ReadFull(call, head[:12]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint64(head[:])
		if err := s.send(call, n); err != nil {
			return err
		}
		_, err := call.Write(binary.BigEndian.AppendUint64(nil, n))
		return err
	case opMeet:
		if _, err := io.ReadFull(call, head[:4]); err != nil {
			return err
		}
		return s.meet(ctx, int(binary.BigEndian.Uint32(head[:])))
	}
	return rxrpc.Abort(rxrpc.BadOpcode)
}

// meet returns when n calls are there.
func (s *server) meet(ctx context.Context, n int) error {
	c := make(chan struct{})
	s.mu.Lock()
	if s.waiting = append(s.waiting, c); len(s.waiting) == n {
		for _, c := range s.waiting {
			close(c)
		}
		s.waiting = nil
	}
	s.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *server) block() []byte {
	if b, ok := s.blocks.Get().(*[blockSize]byte); ok {
		return b[:]
	}
	return new([blockSize]byte)[:]
}

// send writes n bytes in blocks.
func (s *server) send(w io.Writer, n uint64) error {
	b := s.block()
	defer func() { s.blocks.Put((*[blockSize]byte)(b)) }()
	for off := uint64(0); off < n; off += blockSize {
		binary.BigEndian.PutUint64(b, off/blockSize)
		if _, err := w.Write(b[:min(blockSize, n-off)]); err != nil {
			return err
		}
	}
	return nil
}

// receive reads n bytes in blocks, and looks at their numbers.
func (s *server) receive(r io.Reader, n uint64) (uint64, error) {
	b := s.block()
	defer func() { s.blocks.Put((*[blockSize]byte)(b)) }()
	for off := uint64(0); off < n; {
		k, err := io.ReadFull(r, b[:min(blockSize, n-off)])
		if err != nil {
			return off, err
		}
		if k >= 8 && binary.BigEndian.Uint64(b) != off/blockSize {
			return off, fmt.Errorf("block %d has number %d", off/blockSize, binary.BigEndian.Uint64(b))
		}
		off += uint64(k)
	}
	return n, nil
}
