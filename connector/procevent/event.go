package procevent

import (
	"bytes"
	"time"
)

// Event is one process event, or word of missing ones (Kind Lost).
//
// In the kernel's words a "pid" is a thread and a "tgid" a process. Pid and Tgid are those of
// whom the event is about: for a fork the new one. All ids are of the initial namespaces.
type Event struct {
	Kind Kind
	CPU  uint32
	Seq  uint32        // the CPU's counter of events
	Time time.Duration // since boot, CLOCK_MONOTONIC; 0 for Lost

	Pid, Tgid uint32

	// ParentPid and ParentTgid: Fork, Exit, Coredump. For a fork it is the thread that
	// forked and its process.
	ParentPid, ParentTgid uint32

	// RealID and EffectiveID: the new user ids (UID) or group ids (GID).
	RealID, EffectiveID uint32

	// TracerPid and TracerTgid: Ptrace; both 0 when the tracer detached.
	TracerPid, TracerTgid uint32

	// ExitCode is the wait status (Exit): see Status and Signal. ExitSignal is what
	// the parent is sent, mostly SIGCHLD; 0xffffffff for a thread.
	ExitCode, ExitSignal uint32

	// Err is the errno of an Ack, 0 for success.
	Err uint32

	// Count is how many events are missing here (Lost). With Exact it is their number;
	// without, they are at most Count, or nobody can know if Count is 0.
	Count uint64
	Exact bool

	// Info is what /proc told, where that was asked for and was to be had in time.
	Info *Info

	comm [16]byte

	// raw is the kernel's event where this came from it, so that it can be
	// passed on to the byte, kinds unknown to us included.
	raw [Size]byte
}

// Comm is the new name (Comm).
func (e *Event) Comm() string {
	b := e.comm[:]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// SetComm sets the name; the kernel keeps 15 bytes.
func (e *Event) SetComm(s string) {
	e.comm = [16]byte{}
	copy(e.comm[:15], s)
}

// Status is the exit status of an Exit that no signal caused.
func (e *Event) Status() int { return int(e.ExitCode >> 8 & 0xff) }

// Signal is the number of the signal that ended the process (Exit), or 0.
func (e *Event) Signal() int { return int(e.ExitCode & 0x7f) }

// IsThread reports whether the event is about a thread other than its process's first.
func (e *Event) IsThread() bool { return e.Pid != e.Tgid }
