//go:build linux

package faults

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

var native = binary.NativeEndian

// Frame types, flags and sizes, from docs/protocol.md and not from the code that is tested.
const (
	tHello, tSend, tAdd, tDel, tJoin, tLeave, tWatch        = 1, 2, 3, 4, 5, 6, 7
	tUnwatch, tHold, tResume, tHistory, tQuery, tMon, tPing = 8, 9, 10, 11, 12, 13, 14
	tWelcome, tMsg, tAck, tFail, tLost, tStop, tGo          = 65, 66, 67, 68, 69, 70, 71
	tData, tBye                                             = 75, 77

	fAck, fCall, fReply, fWait, fDrop, fToID = 1, 2, 4, 8, 16, 128

	headLen, msgLen, maxFrame = 40, 36, 16440
)

// head is a frame's header.
type head struct {
	typ, flags                        byte
	code                              uint16
	port, group, tag, uid, gid, procs uint32
	pos                               uint64
}

// frame is h with its body.
func (h head) frame(body ...byte) []byte {
	b := make([]byte, headLen, headLen+len(body))
	native.PutUint32(b, uint32(headLen+len(body)))
	b[4], b[5] = h.typ, h.flags
	native.PutUint16(b[6:], h.code)
	for i, v := range []uint32{h.port, h.group, h.tag, h.uid, h.gid, h.procs} {
		native.PutUint32(b[8+4*i:], v)
	}
	native.PutUint64(b[32:], h.pos)
	return append(b, body...)
}

func parseHead(b []byte) (h head) {
	h.typ, h.flags, h.code = b[4], b[5], native.Uint16(b[6:])
	for i, p := range []*uint32{&h.port, &h.group, &h.tag, &h.uid, &h.gid, &h.procs} {
		*p = native.Uint32(b[8+4*i:])
	}
	h.pos = native.Uint64(b[32:])
	return h
}

// netlink is the body of a Send.
func netlink(id cbid.ID, seq, ack uint32, data []byte) []byte {
	b := make([]byte, msgLen, msgLen+len(data))
	native.PutUint32(b, uint32(msgLen+len(data)))
	native.PutUint16(b[4:], 3)
	native.PutUint32(b[8:], seq)
	native.PutUint32(b[12:], 0xdead) // a port id that nobody believes
	native.PutUint32(b[16:], id.Idx)
	native.PutUint32(b[20:], id.Val)
	native.PutUint32(b[24:], seq)
	native.PutUint32(b[28:], ack)
	native.PutUint16(b[32:], uint16(len(data)))
	return append(b, data...)
}

func (h head) send(id cbid.ID, data string) []byte {
	h.typ = tSend
	return h.frame(netlink(id, 1, 2, []byte(data))...)
}

func idBody(id cbid.ID, name string) []byte {
	b := native.AppendUint32(nil, id.Idx)
	return append(native.AppendUint32(b, id.Val), name...)
}

func u64s(v ...uint64) (b []byte) {
	for _, x := range v {
		b = native.AppendUint64(b, x)
	}
	return b
}

func hello() []byte {
	b := native.AppendUint32(nil, 1)
	b = native.AppendUint32(b, 0x01020304)
	return head{typ: tHello}.frame(append(b, "raw"...)...)
}

// rawConn is a client that is written from docs/protocol.md alone, and may do
// what that forbids.
type rawConn struct {
	net.Conn
	t    testing.TB
	buf  []byte
	port uint32
}

// connect connects and says nothing.
func (s *site) connect() *rawConn {
	s.t.Helper()
	c, err := net.Dial("unix", s.cfg.Socket)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	return &rawConn{Conn: c, t: s.t}
}

// raw connects and says Hello.
func (s *site) raw() *rawConn {
	s.t.Helper()
	c := s.connect()
	c.put(hello())
	h, _ := c.want(tWelcome)
	c.port = h.port
	return c
}

func (c *rawConn) put(b []byte) {
	c.t.Helper()
	_, err := c.Write(b)
	require.NoError(c.t, err)
}

// next reads a frame.
func (c *rawConn) next() (head, []byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		if len(c.buf) >= headLen {
			if n := int(native.Uint32(c.buf)); len(c.buf) >= n {
				fr := c.buf[:n]
				c.buf = c.buf[n:]
				return parseHead(fr), fr[headLen:], nil
			}
		}
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		if n == 0 && err != nil {
			return head{}, nil, err
		}
		c.buf = append(c.buf, b[:n]...)
	}
}

func (c *rawConn) want(typ byte) (head, []byte) {
	c.t.Helper()
	h, body, err := c.next()
	require.NoError(c.t, err)
	require.Equal(c.t, typ, h.typ, "code %d: %s", h.code, body)
	return h, body
}

// ended reads until the connection is closed, and returns the frames before that.
func (c *rawConn) ended() (heads []head, bodies []string) {
	c.t.Helper()
	for {
		h, body, err := c.next()
		if err != nil {
			require.False(c.t, errors.Is(err, os.ErrDeadlineExceeded), "the connection should have ended")
			if !errors.Is(err, io.EOF) { // the broker had not read all of it
				require.ErrorContains(c.t, err, "reset by peer")
			}
			return heads, bodies
		}
		heads, bodies = append(heads, h), append(bodies, string(body))
	}
}
