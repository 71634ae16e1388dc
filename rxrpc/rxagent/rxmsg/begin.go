package rxmsg

import (
	"encoding/binary"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
)

// A BeginCall is what a call is begun with (rxrpc_kernel_begin_call): the body of OpBeginCall, whose Arg is the number that the application gives
// the call.
//
//	0       2         4     8           16       20        24          28       30
//	| flags | namelen | key | tx length | hard s | idle ms | normal ms | keylen | 0 | name, key description
type BeginCall struct {
	Name []byte // where it goes: a struct sockaddr_rxrpc; without it where the socket is connected to
	// Key secures the call instead of the socket's: the number of a key of the caller's, or one that OpNullKey has given.
	// 0: KeyDescription says which; without that the socket's.
	Key            uint32
	KeyDescription []byte

	TxLength    int64 // flag 1: how much will be sent
	HasTxLength bool
	Upgrade     bool // flag 2
	Exclusive   bool // flag 4
	Notify      bool // flag 8: news of the call are told by EventNotify, and its data read by OpRecvData
	Timeouts    rxrpc.Timeouts
}

const beginHeader = 32

// Flags of a BeginCall.
const (
	beginTxLength = 1 << iota
	beginUpgrade
	beginExclusive
	beginNotify
)

// ChargeNotify is Notify for a call that OpChargeAccept is to take: a u32 in the body, which may be empty.
const ChargeNotify = 1

// Append appends it; EMSGSIZE if it does not fit.
func (c *BeginCall) Append(b []byte) ([]byte, error) {
	if beginHeader+len(c.Name)+len(c.KeyDescription) > MaxBody {
		return b, fmt.Errorf("rxrpc agent: description of %d bytes: %w", len(c.KeyDescription), syscall.EMSGSIZE)
	}
	o := binary.NativeEndian
	b = o.AppendUint16(b, flag(c.HasTxLength)*beginTxLength|flag(c.Upgrade)*beginUpgrade|flag(c.Exclusive)*beginExclusive|flag(c.Notify)*beginNotify)
	b = o.AppendUint16(b, uint16(len(c.Name)))
	b = o.AppendUint32(b, c.Key)
	b = o.AppendUint64(b, uint64(c.TxLength))
	b = o.AppendUint32(b, units(c.Timeouts.Hard, time.Second))
	b = o.AppendUint32(b, units(c.Timeouts.Idle, time.Millisecond))
	b = o.AppendUint32(b, units(c.Timeouts.Normal, time.Millisecond))
	b = o.AppendUint16(b, uint16(len(c.KeyDescription)))
	b = o.AppendUint16(b, 0)
	b = append(b, c.Name...)
	return append(b, c.KeyDescription...), nil
}

// units rounds up, so that a time is not 0 that was not.
func units(d, unit time.Duration) uint32 {
	return uint32(min(max((d+unit-1)/unit, 0), math.MaxInt32))
}

// ParseBeginCall reads one. It borrows b.
func ParseBeginCall(b []byte) (BeginCall, error) {
	if len(b) < beginHeader {
		return BeginCall{}, short("call", len(b), beginHeader)
	}
	o := binary.NativeEndian
	flags, name, key := o.Uint16(b), int(o.Uint16(b[2:])), int(o.Uint16(b[28:]))
	c := BeginCall{
		Key: o.Uint32(b[4:]), TxLength: int64(o.Uint64(b[8:])),
		HasTxLength: flags&beginTxLength != 0, Upgrade: flags&beginUpgrade != 0, Exclusive: flags&beginExclusive != 0,
		Notify: flags&beginNotify != 0,
		Timeouts: rxrpc.Timeouts{
			Hard: time.Duration(o.Uint32(b[16:])) * time.Second, Idle: time.Duration(o.Uint32(b[20:])) * time.Millisecond,
			Normal: time.Duration(o.Uint32(b[24:])) * time.Millisecond,
		},
	}
	if b = b[beginHeader:]; name+key != len(b) {
		return BeginCall{}, invalid("name of %d bytes and key of %d in %d", name, key, len(b))
	}
	c.Name, c.KeyDescription = b[:name:name], b[name:]
	return c, nil
}
