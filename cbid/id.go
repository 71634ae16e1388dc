package cbid

import "cmp"

// ID is the connector's cb_id: the name of a callback. An agent registered
// under an ID owns the multicast group whose number is Idx; several IDs with
// the same Idx share that group.
//
// ID is comparable and may be a map key.
type ID struct {
	Idx uint32
	Val uint32
}

// Make returns the identifier {idx, val}.
func Make(idx, val uint32) ID { return ID{Idx: idx, Val: val} }

// Key returns the identifier as one number, Idx in the high half, so that the
// numeric order of keys is the order of Compare.
func (id ID) Key() uint64 { return uint64(id.Idx)<<32 | uint64(id.Val) }

// FromKey is the inverse of Key.
func FromKey(k uint64) ID { return ID{Idx: uint32(k >> 32), Val: uint32(k)} }

// Compare orders identifiers by Idx, then by Val: negative when id comes before
// other, zero when they are equal.
func (id ID) Compare(other ID) int { return cmp.Compare(id.Key(), other.Key()) }

// Less reports whether id comes before other.
func (id ID) Less(other ID) bool { return id.Key() < other.Key() }
