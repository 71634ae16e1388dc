package npa

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

const (
	magic = "NPAM"
	level = 8
	// maxPDU is how long a request or a reply is at most, without its length.
	maxPDU = 0x00FFFFFF
	// headSize is the length and the magic.
	headSize = 8
)

// Request is what the client says. An empty string stands for a pointer that is
// not there; no string can hold a NUL, and all are UTF-8.
type Request struct {
	Transport  uint8 // dcerpc_transport_t: how the client came
	ClientName string
	ClientAddr string
	ClientPort uint16
	ServerName string
	ServerAddr string
	ServerPort uint16

	// SessionInfo is the NDR of an auth_session_info_transport, which this
	// package carries and does not read: who the client is, by Samba's account of it. nil: it is
	// not there. Its alignment counts from the start of the request, in which it is at
	// SessionOffset.
	SessionInfo []byte
}

// SessionOffset returns where in the request SessionInfo begins.
func (r *Request) SessionOffset() int {
	e := encoder{}
	r.head(&e)
	return len(e.b)
}

// head writes everything in front of SessionInfo.
func (r *Request) head(e *encoder) {
	e.b = append(e.b, 0, 0, 0, 0)
	e.b = append(e.b, magic...)
	e.u32(level)
	e.u32(level) // the union says so again
	e.u8(r.Transport)
	e.pointer(r.ClientName != "")
	e.pointer(r.ClientAddr != "")
	e.u16(r.ClientPort)
	e.pointer(r.ServerName != "")
	e.pointer(r.ServerAddr != "")
	e.u16(r.ServerPort)
	e.pointer(r.SessionInfo != nil)
	for _, s := range []string{r.ClientName, r.ClientAddr, r.ServerName, r.ServerAddr} {
		if s != "" {
			e.text(s)
		}
	}
	if r.SessionInfo != nil {
		e.align(4)
	}
}

// AppendBinary appends the request as it is sent. ErrInvalid for a string with
// a NUL or that is not UTF-8, EMSGSIZE if it is longer than 16 MiB.
func (r *Request) AppendBinary(b []byte) ([]byte, error) {
	for _, s := range []string{r.ClientName, r.ClientAddr, r.ServerName, r.ServerAddr} {
		if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return b, errText
		}
	}
	e := encoder{b: b, base: len(b)}
	r.head(&e)
	e.b = append(e.b, r.SessionInfo...)
	return finish(e, b)
}

// finish puts the length in front.
func finish(e encoder, before []byte) ([]byte, error) {
	n := len(e.b) - e.base - 4
	if n > maxPDU {
		return before, errTooLong
	}
	binary.BigEndian.PutUint32(e.b[e.base:], uint32(n))
	return e.b, nil
}

// MarshalBinary is AppendBinary to nothing.
func (r *Request) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// UnmarshalBinary reads a request, length and all; SessionInfo is part of b
// afterwards. The error is an *Error: EMSGSIZE if b is too short or too long, EPROTONOSUPPORT
// if it is no request at all, EIO if it is of another level or malformed.
func (r *Request) UnmarshalBinary(b []byte) error {
	d, err := open(b, errNoMagic)
	if err != nil {
		return err
	}
	var q Request
	q.Transport = d.u8()
	clientName, clientAddr := d.pointer(), d.pointer()
	q.ClientPort = d.u16()
	serverName, serverAddr := d.pointer(), d.pointer()
	q.ServerPort = d.u16()
	info := d.pointer()
	q.ClientName, q.ClientAddr = d.text(clientName), d.text(clientAddr)
	q.ServerName, q.ServerAddr = d.text(serverName), d.text(serverAddr)
	if info {
		d.take(0, 4)
		if d.err == nil {
			q.SessionInfo = b[d.at:]
		}
	} else if d.err == nil && d.at != len(b) {
		d.fail(errMalformed)
	}
	if d.err == nil {
		*r = q
	}
	return d.err
}

// open checks everything in front of the union.
func open(b []byte, noMagic error) (*decoder, error) {
	if len(b) < headSize {
		return nil, errShort
	}
	if string(b[4:8]) != magic {
		return nil, noMagic
	}
	if uint64(binary.BigEndian.Uint32(b)) != uint64(len(b)-4) {
		return nil, errShort
	}
	d := &decoder{b: b, at: headSize}
	outer, inner := d.u32(), d.u32()
	if d.err == nil && (outer != level || inner != level) {
		return nil, errLevel
	}
	return d, d.err
}
