package connector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
)

// CtlHeaderLen is the length of a struct cn_ctl_msg without its requests.
const CtlHeaderLen = 16

// notifyReqLen is the length of a struct cn_notify_req.
const notifyReqLen = 8

// NotifyReq is a struct cn_notify_req: the numbers First to First+Range-1.
type NotifyReq struct {
	First uint32
	Range uint32
}

// Holds reports whether n is in the range, which is half open and does not
// wrap: {0xffffffff, 1} holds 0xffffffff, which no range of 2005 could.
func (r NotifyReq) Holds(n uint32) bool {
	return cbid.Range{First: r.First, Count: uint64(r.Range)}.Contains(n)
}

// Ctl is a struct cn_ctl_msg: the request, sent to the control id, that Group
// be told of registrations and removals of each id whose idx is in one range of
// Idx and whose val is in one of Val. With Group 0 it takes such a request back.
//
//	 0              4              8       12     16
//	|idx_notify_num|val_notify_num| group | len  | idx requests, val requests ...
//
// len is the length of the requests, 8 bytes each.
type Ctl struct {
	Group uint32
	Idx   []NotifyReq
	Val   []NotifyReq
}

// Append appends the bytes of c in the given byte order. It fails with ErrTooBig
// when they do not fit in one message.
func (c Ctl) Append(b []byte, order binary.ByteOrder) ([]byte, error) {
	n := notifyReqLen * (len(c.Idx) + len(c.Val))
	if CtlHeaderLen+n > MaxData {
		return b, &OpError{
			Op: "notify", ID: cbid.Control, HasID: true, Group: c.Group,
			Err: fmt.Errorf("%d ranges: %w", len(c.Idx)+len(c.Val), ErrTooBig),
		}
	}
	at := len(b)
	b = append(b, make([]byte, CtlHeaderLen+n)...)
	h := b[at:]
	order.PutUint32(h, uint32(len(c.Idx)))
	order.PutUint32(h[4:], uint32(len(c.Val)))
	order.PutUint32(h[8:], c.Group)
	order.PutUint32(h[12:], uint32(n))
	h = h[CtlHeaderLen:]
	for _, reqs := range [][]NotifyReq{c.Idx, c.Val} {
		for _, r := range reqs {
			order.PutUint32(h, r.First)
			order.PutUint32(h[4:], r.Range)
			h = h[notifyReqLen:]
		}
	}
	return b, nil
}

// What ParseCtl refuses. Made once, so that a flood of bad requests costs nothing.
var (
	errCtlShort = fmt.Errorf("less than a cn_ctl_msg: %w", ErrInvalid)
	errCtlCount = fmt.Errorf("the counts of a cn_ctl_msg do not agree with its length: %w", ErrInvalid)
	errCtlLen   = fmt.Errorf("the len of a cn_ctl_msg is wrong: %w", ErrInvalid)
	errCtlRange = fmt.Errorf("a range of a cn_ctl_msg ends beyond 2^32: %w", ErrInvalid)
)

// ParseCtl reads the data of a message to the control id, which must be exactly
// a cn_ctl_msg: the three checks of 2005 (at least 16 bytes; counts and
// length agree; len and length agree), and no range may end beyond 2^32, where the sum of
// 2005 wrapped. An error wraps ErrInvalid; then nothing is allocated.
func ParseCtl(data []byte, order binary.ByteOrder) (Ctl, error) {
	idx, val, group, err := checkCtl(data, order)
	if err != nil {
		return Ctl{}, err
	}
	reqs := make([]NotifyReq, idx+val)
	for i, b := 0, data[CtlHeaderLen:]; i < len(reqs); i, b = i+1, b[notifyReqLen:] {
		reqs[i] = NotifyReq{First: order.Uint32(b), Range: order.Uint32(b[4:])}
	}
	return Ctl{Group: group, Idx: reqs[:idx:idx], Val: reqs[idx:]}, nil
}

func checkCtl(data []byte, order binary.ByteOrder) (idx, val int, group uint32, err error) {
	if len(data) < CtlHeaderLen {
		return 0, 0, 0, errCtlShort
	}
	i, v := uint64(order.Uint32(data)), uint64(order.Uint32(data[4:]))
	if uint64(len(data)) != CtlHeaderLen+notifyReqLen*(i+v) {
		return 0, 0, 0, errCtlCount
	}
	if uint64(order.Uint32(data[12:]))+CtlHeaderLen != uint64(len(data)) {
		return 0, 0, 0, errCtlLen
	}
	for b := data[CtlHeaderLen:]; len(b) > 0; b = b[notifyReqLen:] {
		if uint64(order.Uint32(b))+uint64(order.Uint32(b[4:])) > 1<<32 {
			return 0, 0, 0, errCtlRange
		}
	}
	return int(i), int(v), order.Uint32(data[8:]), nil
}

// AppendCtlResult appends the data of the reply to a request that was sent as a
// call: an errno of 4 bytes in the host's byte order, 0 for nil. 2005 had no reply.
func AppendCtlResult(b []byte, err error) []byte {
	errno := syscall.EINVAL
	switch {
	case err == nil:
		errno = 0
	case !errors.As(err, &errno):
		errno = syscall.EINVAL
	}
	return native.AppendUint32(b, uint32(errno))
}

// ParseCtlResult reads the data of that reply: nil, or an error that wraps
// the refusal of this package with that errno (or the errno where there is
// none), or ErrProtocol if the data are not 4 bytes.
func ParseCtlResult(data []byte) error {
	if len(data) != 4 {
		return frameError("%d bytes instead of an errno: %w", len(data), ErrProtocol)
	}
	var err error
	switch errno := syscall.Errno(native.Uint32(data)); errno {
	case 0:
		return nil
	case syscall.EINVAL:
		err = ErrInvalid
	case syscall.EDQUOT:
		err = ErrLimit
	case syscall.ENOENT:
		err = ErrNotFound
	case syscall.EPERM:
		err = ErrPermission
	default:
		err = errno
	}
	return &OpError{Op: "notify", ID: cbid.Control, HasID: true, Err: err}
}
