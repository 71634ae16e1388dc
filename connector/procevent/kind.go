package procevent

import (
	"fmt"
	"strings"
)

// Kind is the kind of an event: the kernel's PROC_EVENT_ number, which is one bit,
// or one of this package's own.
type Kind uint32

// The kernel's kinds.
const (
	Ack         Kind = 0          // answer to LISTEN or IGNORE
	Fork        Kind = 0x00000001 // a process or a thread (Pid != Tgid) was made
	Exec        Kind = 0x00000002
	UID         Kind = 0x00000004 // real or effective user id changed
	GID         Kind = 0x00000040
	SID         Kind = 0x00000080 // a session was made
	Ptrace      Kind = 0x00000100 // attached, or detached: no tracer
	Comm        Kind = 0x00000200 // renamed by prctl; not on exec
	NonzeroExit Kind = 0x20000000 // only in a Mask: exits with a status other than 0
	Coredump    Kind = 0x40000000
	Exit        Kind = 0x80000000 // of a process or a thread
)

// Lost is the kind of an Event that stands for missing ones. No kernel event has it.
const Lost Kind = 0x00800000

var kindNames = []struct {
	kind Kind
	name string
}{
	{Ack, "ack"},
	{Fork, "fork"},
	{Exec, "exec"},
	{UID, "uid"},
	{GID, "gid"},
	{SID, "sid"},
	{Ptrace, "ptrace"},
	{Comm, "comm"},
	{NonzeroExit, "nonzero-exit"},
	{Coredump, "coredump"},
	{Exit, "exit"},
	{Lost, "lost"},
}

// String returns the name that ParseKind and Mask have: "exec"; of a kind that is not known "kind-0x400".
func (k Kind) String() string {
	for _, n := range kindNames {
		if n.kind == k {
			return n.name
		}
	}
	return fmt.Sprintf("kind-%#x", uint32(k))
}

// ParseKind is the inverse of String for the kinds that can be asked for.
func ParseKind(s string) (Kind, error) {
	for _, n := range kindNames {
		if n.name == s && All&Mask(n.kind) != 0 || n.name == s && n.kind == NonzeroExit {
			return n.kind, nil
		}
	}
	return 0, fmt.Errorf("process event %q: no such kind, there are %s", s, All|Mask(NonzeroExit))
}

// Mask is a set of kinds. The zero Mask stands for all wherever one is asked for,
// as in the kernel.
type Mask uint32

// All is every kind of event that the kernel sends, acks excepted.
const All = Mask(Fork | Exec | UID | GID | SID | Ptrace | Comm | Coredump | Exit)

// MaskOf is the set of the given kinds.
func MaskOf(kinds ...Kind) Mask {
	var m Mask
	for _, k := range kinds {
		m |= Mask(k)
	}
	return m
}

// normal is m with the bits that mean nothing cleared and none turned into all.
func (m Mask) normal() Mask {
	m &= All | Mask(NonzeroExit)
	if m == 0 {
		return All
	}
	return m
}

// all reports whether m lets everything pass.
func (m Mask) all() bool { return m.normal()&All == All }

// Has reports whether an event passes the mask, by the kernel's rule: an exit passes
// by the bit Exit, or by NonzeroExit if its status is not 0. Acks and
// losses always pass; a kind that is not known passes only the full mask.
func (m Mask) Has(e *Event) bool {
	m = m.normal()
	switch {
	case e.Kind == Lost, e.Kind == Ack, m&All == All:
		return true
	case e.Kind == Exit && m&Mask(NonzeroExit) != 0 && e.ExitCode != 0:
		return true
	}
	return Mask(e.Kind)&m != 0
}

// String lists the kinds, separated by commas.
func (m Mask) String() string {
	var names []string
	for _, n := range kindNames {
		if n.kind != Lost && Mask(n.kind)&m != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}
