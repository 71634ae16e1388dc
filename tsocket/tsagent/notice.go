package tsagent

import (
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// AppendNotice appends the body of a notice:
//
//	0       4      5      6     8     12
//	| errno | type | code |  0  | mtu | destination | offender | data ...
//
// with the addresses as AppendAddr has them. At most 576 bytes of the datagram go along.
func AppendNotice(b []byte, n *tsocket.Notice) []byte {
	b = native.AppendUint32(b, uint32(n.Errno))
	b = append(b, n.Type, n.Code, 0, 0)
	b = native.AppendUint32(b, uint32(n.MTU))
	b = AppendAddr(b, n.Dst)
	b = AppendAddr(b, n.Offender)
	return append(b, n.Data[:min(len(n.Data), 576)]...)
}

// ParseNotice reads what AppendNotice appends; the Data are a part of b.
func ParseNotice(b []byte) (*tsocket.Notice, error) {
	if len(b) < 12 {
		return nil, errNotice
	}
	n := &tsocket.Notice{
		Errno: syscall.Errno(native.Uint32(b) & 0xffff), Type: b[4], Code: b[5],
		MTU: int(native.Uint32(b[8:]) & 0x7fffffff),
	}
	var err error
	if n.Dst, b, err = ParseAddr(b[12:]); err != nil {
		return nil, err
	}
	if n.Offender, b, err = ParseAddr(b); err != nil {
		return nil, err
	}
	n.Data = b
	return n, nil
}

// appendErrno appends the body of the events that tell an error: an errno and a text.
func appendErrno(b []byte, err error) []byte {
	if err == nil {
		return native.AppendUint32(b, 0)
	}
	b = native.AppendUint32(b, uint32(tsocket.Errno(err)))
	text := errorText(err)
	return append(b, text[:min(len(text), 512)]...)
}

// parseErrno reads it: why is nil for errno 0.
func parseErrno(b []byte) (why, err error) {
	if len(b) < 4 {
		return nil, errErrno
	}
	errno := syscall.Errno(native.Uint32(b) & 0xffff)
	if errno == 0 {
		return nil, nil
	}
	return &Error{errno, cleanText(b[4:])}, nil
}
