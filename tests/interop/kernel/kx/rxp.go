//go:build linux

package main

// The "RXP" test interface (service 4242 of the OpenAFS rig's rxpeer): XDR op
// number, then arguments.  1 Nop(u32)->u32+1, 2 Echo(opaque)->opaque,
// 3 Sink(u64 n,u32 flags,u32 seed, n raw bytes)->(u64 got,u64 bad),
// 4 Source(u64 n,u32 seed)->n raw bytes,u64 n, 5 Fail(i32), 6 Delay(u32 ms)->u32,
// 7 WhoAmI, 8 SourceFail(u64 n,u32 seed,i32 code).

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

const rxpBlock = 65536

func rxpBlockBytes(seed uint32) []byte {
	b := make([]byte, rxpBlock)
	for k := 8; k < rxpBlock; k++ {
		b[k] = byte(seed + uint32(31*k) + uint32(7*(k>>8)))
	}
	return b
}

// rxpFill writes bytes [off, off+len(p)) of the stream of the seed block.
func rxpFill(p []byte, off uint64, blk []byte) {
	for len(p) > 0 {
		binary.BigEndian.PutUint64(blk, off/rxpBlock)
		n := copy(p, blk[off%rxpBlock:])
		p = p[n:]
		off += uint64(n)
	}
}

// rxpCall is the server's state for one incoming call.
type rxpCall struct {
	hdr     []byte
	op      uint32
	got     uint64
	bad     uint64
	n       uint64
	verify  bool
	blk     []byte
	scratch []byte
}

func (c *rxpCall) feed(p []byte) {
	if c.op == 0 || c.op != 3 {
		c.hdr = append(c.hdr, p...)
		if c.op == 0 && len(c.hdr) >= 4 {
			c.op = binary.BigEndian.Uint32(c.hdr)
		}
		if c.op != 3 || len(c.hdr) < 20 {
			if c.op == 3 {
				c.op = 0 // parse again when the header is whole
			}
			return
		}
		c.n = binary.BigEndian.Uint64(c.hdr[4:])
		c.verify = binary.BigEndian.Uint32(c.hdr[12:])&1 != 0
		c.blk = rxpBlockBytes(binary.BigEndian.Uint32(c.hdr[16:]))
		p = c.hdr[20:]
		c.hdr = nil
	}
	if c.verify {
		if len(c.scratch) < len(p) {
			c.scratch = make([]byte, len(p))
		}
		rxpFill(c.scratch[:len(p)], c.got, c.blk)
		if !bytes.Equal(c.scratch[:len(p)], p) {
			c.bad++
		}
	}
	c.got += uint64(len(p))
}

func rxpStream(fd int, id uint64, n uint64, seed uint32, last bool) error {
	blk := rxpBlockBytes(seed)
	buf := make([]byte, rxpBlock)
	for off := uint64(0); off < n; {
		k := min(n-off, rxpBlock)
		rxpFill(buf[:k], off, blk)
		fl := msgMore
		if last && off+k == n {
			fl = 0
		}
		m, err := sendReply(fd, id, buf[:k], fl)
		if err != nil {
			return err
		}
		off += uint64(m)
	}
	return nil
}

func (c *rxpCall) finish(fd int, id uint64) {
	be := binary.BigEndian
	me := cmsg{cUserCallID, u64(id)}
	var reply []byte
	var err error
	abort := func(code int32) {
		_, err = rxSend(fd, nil, nil, 0, me, cmsg{cAbort, u32(uint32(code))})
	}
	a := c.hdr
	need := func(n int) bool { return len(a) >= 4+n }
	switch {
	case c.op == 1 && need(4):
		reply = be.AppendUint32(nil, be.Uint32(a[4:])+1)
	case c.op == 2 && need(4):
		reply = a[4:]
	case c.op == 3:
		reply = be.AppendUint64(be.AppendUint64(nil, c.got), c.bad)
	case c.op == 4 && need(12), c.op == 8 && need(16):
		n, seed := be.Uint64(a[4:]), be.Uint32(a[12:])
		if err = rxpStream(fd, id, n, seed, false); err == nil {
			if c.op == 8 {
				abort(int32(be.Uint32(a[16:])))
			} else {
				reply = be.AppendUint64(nil, n)
			}
		}
	case c.op == 5 && need(4):
		abort(int32(be.Uint32(a[4:])))
	case c.op == 6 && need(4):
		time.Sleep(time.Duration(be.Uint32(a[4:])) * time.Millisecond)
		reply = a[4:8]
	case c.op == 7: // AF_RXRPC does not tell a service who the caller is
		reply = be.AppendUint32(nil, 0xffffffff)
		reply = append(reply, make([]byte, 24)...)
	default:
		abort(-455) // RXGEN_OPCODE
	}
	if err == nil && reply != nil {
		_, err = sendReply(fd, id, reply, 0)
	}
	if err != nil {
		fmt.Printf("server: rxp op %d id=%#x: %s\n", c.op, id, errs(err))
	}
}

// rxpRequest returns the request head and the reply check for a client op.
func rxpRequest(op string, size int) (req, want []byte, ok bool) {
	be := binary.BigEndian
	const seed = 7
	switch op {
	case "nop":
		req = be.AppendUint32(be.AppendUint32(nil, 1), uint32(size))
		want = be.AppendUint32(nil, uint32(size)+1)
	case "rxecho":
		req = be.AppendUint32(nil, 2)
		want = be.AppendUint32(nil, uint32(size))
		want = append(want, pattern(size)...)
		for len(want)%4 != 0 {
			want = append(want, 0)
		}
		req = append(req, want...)
	case "sink":
		req = be.AppendUint32(nil, 3)
		req = be.AppendUint64(req, uint64(size))
		req = be.AppendUint32(req, 1)
		req = be.AppendUint32(req, seed)
		body := make([]byte, size)
		rxpFill(body, 0, rxpBlockBytes(seed))
		req = append(req, body...)
		want = be.AppendUint64(be.AppendUint64(nil, uint64(size)), 0)
	case "source":
		req = be.AppendUint32(nil, 4)
		req = be.AppendUint64(req, uint64(size))
		req = be.AppendUint32(req, seed)
		want = make([]byte, size)
		rxpFill(want, 0, rxpBlockBytes(seed))
		want = be.AppendUint64(want, uint64(size))
	case "fail":
		req = be.AppendUint32(be.AppendUint32(nil, 5), uint32(size))
	case "delay":
		req = be.AppendUint32(be.AppendUint32(nil, 6), uint32(size))
		want = be.AppendUint32(nil, uint32(size))
	case "whoami":
		req = be.AppendUint32(nil, 7)
	default:
		return nil, nil, false
	}
	return req, want, true
}
