package procevent

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// LostID is the identifier of the agent's word on a loss in the kernel; the package comment has its data.
var LostID = cbid.Make(1, 0x6c6f7374)

// FirstFilterGroup is the first group number that the agent gives to a filter.
const FirstFilterGroup = 0x70000000

// filterVal is the val of the id that owns a filter's group.
const filterVal = 1

const (
	opSubscribe  = 0x101
	maxSubscribe = 8192

	attrKinds  = 1
	attrUID    = 2
	attrCgroup = 3
	attrTree   = 4
)

// control is a request to the agent.
type control struct {
	op     uint32
	mask   Mask   // LISTEN with 8 bytes
	joined uint32 // SUBSCRIBE: the group that the asker is a member of, 0 for none
	filter Filter // SUBSCRIBE
}

// parseControl reads the data of a message to 1:1. An operation that it does not know is no
// error here, if it has the kernel's length.
func parseControl(b []byte, order binary.ByteOrder) (control, error) {
	var c control
	if len(b) < 4 {
		return c, badFilter("request of %d bytes", len(b))
	}
	c.op = order.Uint32(b)
	if c.op != opSubscribe {
		switch len(b) {
		case 4:
		case 8:
			c.mask = Mask(order.Uint32(b[4:]))
		default:
			return c, badFilter("operation %d with %d bytes, the kernel takes 4 or 8", c.op, len(b))
		}
		return c, nil
	}
	if len(b) < 8 || len(b) > maxSubscribe {
		return c, badFilter("SUBSCRIBE of %d bytes, must be in [8, %d]", len(b), maxSubscribe)
	}
	c.joined = order.Uint32(b[4:])
	err := c.filter.parse(b[8:], order)
	return c, err
}

// parse reads the attributes. One that is not known is refused: to ignore it
// would let pass what it was to keep out.
func (f *Filter) parse(b []byte, order binary.ByteOrder) error {
	kinds := false
	for len(b) > 0 {
		if len(b) < 4 {
			return badFilter("%d bytes behind the last attribute", len(b))
		}
		typ, n := order.Uint16(b), int(order.Uint16(b[2:]))
		padded := (n + 3) &^ 3
		if padded > len(b)-4 {
			return badFilter("attribute %d of %d bytes, but only %d are there", typ, n, len(b)-4)
		}
		v := b[4 : 4+n]
		b = b[4+padded:]
		switch typ {
		case attrKinds:
			if n != 4 || kinds {
				return badFilter("kinds must be one mask of 4 bytes")
			}
			kinds, f.Kinds = true, Mask(order.Uint32(v))
		case attrUID, attrTree:
			if n%4 != 0 || n == 0 {
				return badFilter("attribute %d of %d bytes is no list of numbers", typ, n)
			}
			for ; len(v) > 0; v = v[4:] {
				if typ == attrUID {
					f.UIDs = append(f.UIDs, order.Uint32(v))
				} else {
					f.Trees = append(f.Trees, order.Uint32(v))
				}
			}
		case attrCgroup:
			f.Cgroups = append(f.Cgroups, string(v))
		default:
			return badFilter("attribute %d is not known", typ)
		}
	}
	return f.Check()
}

// appendSubscribe appends the data of a SUBSCRIBE.
func (f *Filter) appendSubscribe(b []byte, joined uint32, order binary.ByteOrder) []byte {
	b = put32(b, order, opSubscribe)
	b = put32(b, order, joined)
	return f.appendAttributes(b, order)
}

func (f *Filter) appendAttributes(b []byte, order binary.ByteOrder) []byte {
	if f.Kinds != 0 {
		b = put32(putAttr(b, order, attrKinds, 4), order, uint32(f.Kinds))
	}
	b = putList(b, order, attrUID, f.UIDs)
	b = putList(b, order, attrTree, f.Trees)
	for _, c := range f.Cgroups {
		b = append(putAttr(b, order, attrCgroup, len(c)), c...)
		b = append(b, make([]byte, -len(c)&3)...)
	}
	return b
}

func putList(b []byte, order binary.ByteOrder, typ uint16, list []uint32) []byte {
	if len(list) == 0 {
		return b
	}
	b = putAttr(b, order, typ, 4*len(list))
	for _, v := range list {
		b = put32(b, order, v)
	}
	return b
}

func putAttr(b []byte, order binary.ByteOrder, typ uint16, n int) []byte {
	n0 := len(b)
	b = append(b, 0, 0, 0, 0)
	order.PutUint16(b[n0:], typ)
	order.PutUint16(b[n0+2:], uint16(n))
	return b
}

func put32(b []byte, order binary.ByteOrder, v uint32) []byte {
	n := len(b)
	b = append(b, 0, 0, 0, 0)
	order.PutUint32(b[n:], v)
	return b
}

// appendAnswer appends the answer to a request: the kernel's ack, with the group
// in the second word of the union.
func appendAnswer(b []byte, errno, group uint32, at time.Duration, order binary.ByteOrder) []byte {
	n := len(b)
	b = append(b, make([]byte, Size)...)
	order.PutUint64(b[n+8:], uint64(at))
	order.PutUint32(b[n+16:], errno)
	order.PutUint32(b[n+20:], group)
	return b
}

// parseAnswer reads an answer.
func parseAnswer(b []byte, order binary.ByteOrder) (errno, group uint32, err error) {
	if len(b) < Size || order.Uint32(b) != uint32(Ack) {
		return 0, 0, fmt.Errorf("answer of %d bytes is no ack: %w", len(b), connector.ErrProtocol)
	}
	return order.Uint32(b[16:]), order.Uint32(b[20:]), nil
}

const lostSize = 9

// appendLost appends the data of a LostID message.
func appendLost(b []byte, e *Event, order binary.ByteOrder) []byte {
	n := len(b)
	b = append(b, make([]byte, lostSize)...)
	order.PutUint64(b[n:], e.Count)
	if e.Exact {
		b[n+8] = 1
	}
	return b
}

// parseLost reads the data of a LostID message.
func parseLost(b []byte, order binary.ByteOrder) (Event, error) {
	if len(b) != lostSize || b[8] > 1 {
		return Event{}, fmt.Errorf("word of a loss with %d bytes, must be %d: %w", len(b), lostSize, connector.ErrProtocol)
	}
	return Event{Kind: Lost, Count: order.Uint64(b), Exact: b[8] == 1}, nil
}
