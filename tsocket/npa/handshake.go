package npa

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// Connect connects to the named pipe of that name below dir, the directory of a
// server's pipes, and says r. The name is made lower-case, as the sockets are named.
//
// The OpError's Err is the errno of the connection (ENOENT: there is no such
// pipe), or an *Error: EACCES if the server refuses, with its Status inside; EIO if it does not
// answer as it should; EINVAL for a name that is none, or a file type that is neither byte nor message mode.
func Connect(ctx context.Context, dir, name string, r *Request) (*tsocket.Stream, *Reply, error) {
	name = strings.ToLower(name)
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return nil, nil, fail("connect", errName)
	}
	at, err := tsocket.UnixAddr(filepath.Join(dir, name))
	if err != nil {
		return nil, nil, err
	}
	s, err := tsocket.DialUnix(ctx, tsocket.Addr{}, at)
	if err != nil {
		return nil, nil, err
	}
	pipe, reply, err := ConnectStream(ctx, s, r)
	if err != nil {
		_ = s.Close()
	}
	return pipe, reply, err
}

// Connected is the outcome of ConnectSend and of AcceptSend.
type Connected struct {
	Stream  *tsocket.Stream
	Request *Request
	Reply   *Reply
}

// ConnectSend starts a Connect.
func ConnectSend(ctx context.Context, dir, name string, r *Request) *tsocket.Request[Connected] {
	return tsocket.Go(ctx, opName("connect"), func(ctx context.Context) (Connected, error) {
		s, reply, err := Connect(ctx, dir, name, r)
		return Connected{s, r, reply}, err
	})
}

func opName(op string) string { return "named pipe " + op }

func fail(op string, err error) error {
	return &tsocket.OpError{Op: opName(op), Err: tsocket.Cause(err)}
}

// ConnectStream is Connect over a stream that is there already, which belongs
// to the pipe unless it fails.
func ConnectStream(ctx context.Context, s *tsocket.Stream, r *Request) (*tsocket.Stream, *Reply, error) {
	const op = "connect"
	b, err := r.MarshalBinary()
	if err != nil {
		return nil, nil, fail(op, err)
	}
	if _, err := s.Writev(ctx, b); err != nil {
		return nil, nil, fail(op, err)
	}
	b, err = readPDU(ctx, s, replySize-4, errMalformed)
	if err != nil {
		return nil, nil, fail(op, err)
	}
	reply := &Reply{}
	if err := reply.UnmarshalBinary(b); err != nil {
		return nil, nil, fail(op, err)
	}
	if reply.Status != StatusOK {
		return nil, reply, fail(op, &Error{syscall.EACCES, reply.Status})
	}
	pipe, err := Wrap(s, reply.FileType, nil)
	return pipe, reply, err
}

// readPDU reads a PDU of at most max bytes behind its length. What says that it
// is one is looked at before the rest is waited for, and memory grows with what comes.
func readPDU(ctx context.Context, s *tsocket.Stream, max int, noMagic error) ([]byte, error) {
	b := make([]byte, headSize, 1024)
	if _, err := s.Readv(ctx, b); err != nil {
		return nil, err
	}
	if string(b[4:]) != magic {
		return nil, noMagic
	}
	n := binary.BigEndian.Uint32(b)
	if n < headSize-4 || n > uint32(max) {
		return nil, errShort
	}
	const atOnce = 64 << 10
	for left := int(n) + 4 - headSize; left > 0; {
		have, more := len(b), min(left, atOnce)
		b = append(b, make([]byte, more)...)
		if _, err := s.Readv(ctx, b[have:]); err != nil {
			return nil, err
		}
		left -= more
	}
	return b, nil
}

// AcceptConfig is how a pipe is accepted; nil is a pipe in byte mode for everybody.
type AcceptConfig struct {
	// FileType is the mode; 0 is ByteMode.
	FileType FileType
	// DeviceState and AllocationSize are told to the client. 0 is what Samba says: in
	// message mode 0x05FF, in byte mode 0x00FF; 4096.
	DeviceState    uint16
	AllocationSize uint64
	// Check decides about a client; an error refuses it: with that Status if the
	// error is one, with StatusAccessDenied otherwise.
	Check func(*Request) error
	// MaxRequest is the longest request that is read, 0 the 16 MiB of the protocol.
	MaxRequest int

	Options
}

func (c *AcceptConfig) reply() *Reply {
	r := &Reply{FileType: c.FileType, DeviceState: c.DeviceState, AllocationSize: c.AllocationSize}
	if r.FileType == 0 {
		r.FileType = ByteMode
	}
	if r.DeviceState == 0 {
		r.DeviceState = 0x00FF
		if r.FileType == MessageMode {
			r.DeviceState = 0x05FF
		}
	}
	if r.AllocationSize == 0 {
		r.AllocationSize = 4096
	}
	return r
}

// Accept does the server's part of the handshake on s. The pipe owns s from
// then on, unless it fails or the config says otherwise.
//
// The OpError's Err is an *Error: EPROTONOSUPPORT if the client speaks something
// else, EMSGSIZE if the request's length is impossible, EIO if it is malformed or of another
// level (the client is told), EACCES if Check refused it (so is it then), EINVAL for a FileType that
// does not exist.
func Accept(ctx context.Context, s *tsocket.Stream, c *AcceptConfig) (*tsocket.Stream, *Request, error) {
	const op = "accept"
	if c == nil {
		c = &AcceptConfig{}
	}
	reply := c.reply()
	if !reply.FileType.exists() {
		return nil, nil, fail(op, errFileType)
	}
	max := maxPDU
	if c.MaxRequest > 0 && c.MaxRequest < max {
		max = c.MaxRequest
	}
	b, err := readPDU(ctx, s, max, errNoMagic)
	if err != nil {
		return nil, nil, fail(op, err)
	}
	r := &Request{}
	if err := r.UnmarshalBinary(b); err != nil {
		if err == errLevel {
			_ = answer(ctx, s, &Reply{Status: StatusInvalidLevel})
		}
		return nil, nil, fail(op, err)
	}
	if c.Check != nil {
		if why := c.Check(r); why != nil {
			status, ok := why.(Status)
			if !ok {
				status = StatusAccessDenied
			}
			_ = answer(ctx, s, &Reply{Status: status})
			return nil, r, fail(op, &Error{syscall.EACCES, why})
		}
	}
	if err := answer(ctx, s, reply); err != nil {
		return nil, r, fail(op, err)
	}
	pipe, err := Wrap(s, reply.FileType, &c.Options)
	return pipe, r, err
}

func answer(ctx context.Context, s *tsocket.Stream, r *Reply) error {
	b, err := r.MarshalBinary()
	if err == nil {
		_, err = s.Writev(ctx, b)
	}
	return err
}

// AcceptSend starts an Accept.
func AcceptSend(ctx context.Context, s *tsocket.Stream, c *AcceptConfig) *tsocket.Request[Connected] {
	return tsocket.Go(ctx, opName("accept"), func(ctx context.Context) (Connected, error) {
		pipe, r, err := Accept(ctx, s, c)
		return Connected{Stream: pipe, Request: r}, err
	})
}
