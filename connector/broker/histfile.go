package broker

import (
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/connector"
)

// A history lives in a mapped file where the broker has a directory for it, so
// that it survives the broker's end, however sudden: what is stored in mapped memory
// is in the file once the process is gone. The file is
//
//	0    8        16     24       32       40    48    56        64
//	|magic|version| epoch| group  | uid+1  | messages | bytes | age |
//	64: which of the two states is valid
//	72: state 0: head, tail, next      96: state 1: head, tail, next
//	4096: the store of the HistoryRing
//
// in host byte order; uid+1 is 0 for a history that the policy set. There are two states so that
// one of them is whole at any time.
const (
	histMagic   = 0x636e627573686973 // "cnbushis"
	histVersion = 1
	histHead    = 4096

	histEpoch  = 16
	histGroup  = 24
	histOwner  = 32
	histMsgs   = 40
	histBytes  = 48
	histAge    = 56
	histActive = 64
	histStates = 72
)

// histFile is a mapped file.
type histFile struct {
	path string
	mem  []byte
}

func (f *histFile) u64(off int) uint64      { return binary.NativeEndian.Uint64(f.mem[off:]) }
func (f *histFile) put(off int, v uint64)   { binary.NativeEndian.PutUint64(f.mem[off:], v) }
func (f *histFile) store() []byte           { return f.mem[histHead:] }
func (f *histFile) stateAt(slot uint64) int { return histStates + 24*int(slot&1) }
func (f *histFile) setOwner(uid *uint32) {
	f.put(histOwner, 0)
	if uid != nil {
		f.put(histOwner, uint64(*uid)+1)
	}
}

func (f *histFile) setBounds(w connector.History) {
	f.put(histMsgs, uint64(w.Messages))
	f.put(histBytes, uint64(w.Bytes))
	f.put(histAge, uint64(w.Age))
}

// save makes s the valid state. The other one stays whole until this one is:
// a process is killed between two instructions, with all before done.
func (f *histFile) save(s connector.HistoryState) {
	head := f.mem[:histHead]
	slot := binary.NativeEndian.Uint64(head[histActive:]) ^ 1
	state := head[histStates+24*(slot&1):][:24]
	binary.NativeEndian.PutUint64(state, s.Head)
	binary.NativeEndian.PutUint64(state[8:], s.Tail)
	binary.NativeEndian.PutUint64(state[16:], s.Next)
	f.commit(slot)
}

// commit is a function of its own so that nothing of save moves behind it.
//
//go:noinline
func (f *histFile) commit(slot uint64) { f.put(histActive, slot) }

func (f *histFile) state() connector.HistoryState {
	at := f.stateAt(f.u64(histActive))
	return connector.HistoryState{Head: f.u64(at), Tail: f.u64(at + 8), Next: f.u64(at + 16)}
}

// check reads a header that may be anything.
func (f *histFile) check() (group uint32, want connector.History, owner *uint32, err error) {
	if len(f.mem) < histHead+8 || f.u64(0) != histMagic {
		return 0, want, nil, fmt.Errorf("no history: %w", connector.ErrInvalid)
	}
	if v := f.u64(8); v != histVersion {
		return 0, want, nil, fmt.Errorf("version %d, this broker has %d: %w", v, histVersion, connector.ErrInvalid)
	}
	g, m, b, a, o := f.u64(histGroup), f.u64(histMsgs), f.u64(histBytes), f.u64(histAge), f.u64(histOwner)
	if g == 0 || g > 1<<32-1 || m > 1<<31 || b > 1<<40 || a > 1<<62 || o > 1<<32 || m+b+a == 0 || f.u64(histEpoch) == 0 {
		return 0, want, nil, fmt.Errorf("header out of range: %w", connector.ErrInvalid)
	}
	if o > 0 {
		uid := uint32(o - 1)
		owner = &uid
	}
	return uint32(g), historyOf(m, b, a), owner, nil
}
