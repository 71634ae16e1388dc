package procevent

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// ID is the identifier of the kernel's process events, CN_IDX_PROC : CN_VAL_PROC.
var ID = cbid.Make(1, 1)

// Group is the multicast group of the process events.
const Group = 1

// Size is the length of a struct proc_event.
//
//	0      4      8              16
//	| what | cpu  | timestamp_ns | union, 24 bytes: u32 each |
//
//	ack       err
//	fork      parent pid, parent tgid, child pid, child tgid
//	exec, sid pid, tgid
//	uid, gid  pid, tgid, real, effective
//	ptrace    pid, tgid, tracer pid, tracer tgid
//	comm      pid, tgid, name (16 bytes)
//	coredump  pid, tgid, parent pid, parent tgid
//	exit      pid, tgid, code, signal, parent pid, parent tgid
const Size = 40

// Control operations, PROC_CN_MCAST_LISTEN and PROC_CN_MCAST_IGNORE.
const (
	opListen = 1
	opIgnore = 2
)

// Parse reads the struct proc_event at the start of b, in the given byte order. A
// kind that is not known is kept: Kind is its number, and Append restores its bytes.
// Bytes behind the first 40 are ignored, as a newer kernel might add some. It
// fails with an error that wraps connector.ErrProtocol if b is shorter.
func Parse(b []byte, order binary.ByteOrder) (Event, error) {
	var e Event
	err := e.parse(b, order)
	return e, err
}

func (e *Event) parse(b []byte, order binary.ByteOrder) error {
	if len(b) < Size {
		return fmt.Errorf("process event of %d bytes, must be %d: %w", len(b), Size, connector.ErrProtocol)
	}
	*e = Event{
		Kind: Kind(order.Uint32(b)),
		CPU:  order.Uint32(b[4:]),
		Time: time.Duration(order.Uint64(b[8:])),
	}
	copy(e.raw[:], b)
	w := func(i int) uint32 { return order.Uint32(b[16+4*i:]) }
	switch e.Kind {
	case Ack:
		e.Err = w(0)
		return nil
	case Fork:
		e.ParentPid, e.ParentTgid, e.Pid, e.Tgid = w(0), w(1), w(2), w(3)
		return nil
	}
	e.Pid, e.Tgid = w(0), w(1)
	switch e.Kind {
	case Exec, SID:
	case UID, GID:
		e.RealID, e.EffectiveID = w(2), w(3)
	case Ptrace:
		e.TracerPid, e.TracerTgid = w(2), w(3)
	case Comm:
		copy(e.comm[:], b[24:])
	case Coredump:
		e.ParentPid, e.ParentTgid = w(2), w(3)
	case Exit:
		e.ExitCode, e.ExitSignal, e.ParentPid, e.ParentTgid = w(2), w(3), w(4), w(5)
	default:
		e.Pid, e.Tgid = 0, 0
	}
	return nil
}

// Append appends the struct proc_event of e. What the kernel would leave in the unused rest
// of the union is as it was parsed, else zero. It fails for a Lost, which is no kernel event.
func (e *Event) Append(b []byte, order binary.ByteOrder) ([]byte, error) {
	if e.Kind == Lost {
		return b, fmt.Errorf("a loss is not a kernel event: %w", connector.ErrInvalid)
	}
	n := len(b)
	b = append(b, e.raw[:]...)
	p := b[n:]
	order.PutUint32(p, uint32(e.Kind))
	order.PutUint32(p[4:], e.CPU)
	order.PutUint64(p[8:], uint64(e.Time))
	switch e.Kind {
	case Ack:
		putWords(p, order, e.Err)
	case Fork:
		putWords(p, order, e.ParentPid, e.ParentTgid, e.Pid, e.Tgid)
	case Exec, SID:
		putWords(p, order, e.Pid, e.Tgid)
	case UID, GID:
		putWords(p, order, e.Pid, e.Tgid, e.RealID, e.EffectiveID)
	case Ptrace:
		putWords(p, order, e.Pid, e.Tgid, e.TracerPid, e.TracerTgid)
	case Comm:
		putWords(p, order, e.Pid, e.Tgid)
		copy(p[24:], e.comm[:])
	case Coredump:
		putWords(p, order, e.Pid, e.Tgid, e.ParentPid, e.ParentTgid)
	case Exit:
		putWords(p, order, e.Pid, e.Tgid, e.ExitCode, e.ExitSignal, e.ParentPid, e.ParentTgid)
	}
	return b, nil
}

func putWords(p []byte, order binary.ByteOrder, words ...uint32) {
	for i, w := range words {
		order.PutUint32(p[16+4*i:], w)
	}
}
