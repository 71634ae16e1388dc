package procevent

import (
	"encoding/json"
	"fmt"
	"time"
)

// jsonEvent is the JSON form of an Event. Fields that a kind does not have are left out.
type jsonEvent struct {
	Event     string     `json:"event"`
	Count     *uint64    `json:"count,omitempty"`
	Exact     *bool      `json:"exact,omitempty"`
	Pid       *uint32    `json:"pid,omitempty"`
	Tgid      *uint32    `json:"tgid,omitempty"`
	PPid      *uint32    `json:"ppid,omitempty"`
	PTgid     *uint32    `json:"ptgid,omitempty"`
	Real      *uint32    `json:"real,omitempty"`
	Effective *uint32    `json:"effective,omitempty"`
	Tracer    *uint32    `json:"tracer,omitempty"`
	TracerTg  *uint32    `json:"tracer_tgid,omitempty"`
	Comm      *string    `json:"comm,omitempty"`
	Status    *int       `json:"status,omitempty"`
	Signal    *int       `json:"signal,omitempty"`
	ExitCode  *uint32    `json:"exit_code,omitempty"`
	ExitSig   *uint32    `json:"exit_signal,omitempty"`
	Errno     *uint32    `json:"errno,omitempty"`
	CPU       *uint32    `json:"cpu,omitempty"`
	Seq       *uint32    `json:"seq,omitempty"`
	TimeNS    *int64     `json:"time_ns,omitempty"`
	Proc      *jsonInfo  `json:"proc,omitempty"`
	Raw       *jsonBytes `json:"raw,omitempty"`
}

type jsonInfo struct {
	Exe       string   `json:"exe,omitempty"`
	Cmdline   []string `json:"cmdline,omitempty"`
	Cgroup    string   `json:"cgroup,omitempty"`
	Container string   `json:"container,omitempty"`
	UID       *uint32  `json:"uid,omitempty"`
	GID       *uint32  `json:"gid,omitempty"`
}

// jsonBytes is written in hexadecimal.
type jsonBytes []byte

func (b jsonBytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(b)), nil }

// MarshalJSON writes one object:
//
//	{"event":"exec","pid":7,"tgid":7,"cpu":0,"seq":5,"time_ns":1337490000000}
//	{"event":"lost","count":3,"exact":true}
//
// besides, by kind: fork, exit, coredump "ppid", "ptgid"; exit "status", "signal", "exit_code",
// "exit_signal"; uid, gid "real", "effective"; ptrace "tracer", "tracer_tgid"; comm "comm"; ack "errno";
// and "proc" {"exe", "cmdline", "cgroup", "container", "uid", "gid"} with enrichment. A kind that is not known
// is "kind-0x..." with its 40 bytes in "raw".
func (e Event) MarshalJSON() ([]byte, error) {
	j := jsonEvent{Event: e.Kind.String()}
	if e.Kind == Lost {
		j.Count, j.Exact = &e.Count, &e.Exact
		return json.Marshal(j)
	}
	ns := int64(e.Time / time.Nanosecond)
	j.CPU, j.Seq, j.TimeNS = &e.CPU, &e.Seq, &ns
	if e.Kind != Ack {
		j.Pid, j.Tgid = &e.Pid, &e.Tgid
	}
	switch e.Kind {
	case Ack:
		j.Errno = &e.Err
	case Fork, Coredump:
		j.PPid, j.PTgid = &e.ParentPid, &e.ParentTgid
	case Exit:
		status, sig := e.Status(), e.Signal()
		j.PPid, j.PTgid, j.ExitCode, j.ExitSig = &e.ParentPid, &e.ParentTgid, &e.ExitCode, &e.ExitSignal
		j.Status, j.Signal = &status, &sig
	case UID, GID:
		j.Real, j.Effective = &e.RealID, &e.EffectiveID
	case Ptrace:
		j.Tracer, j.TracerTg = &e.TracerPid, &e.TracerTgid
	case Comm:
		name := e.Comm()
		j.Comm = &name
	case Exec, SID:
	default:
		raw := jsonBytes(e.raw[:])
		j.Raw, j.Pid, j.Tgid = &raw, nil, nil
	}
	if e.Info != nil {
		p := &jsonInfo{Exe: e.Info.Exe, Cmdline: e.Info.Cmdline, Cgroup: e.Info.Cgroup, Container: e.Info.ContainerID}
		if e.Info.has&EnrichUser != 0 {
			p.UID, p.GID = &e.Info.UID, &e.Info.GID
		}
		j.Proc = p
	}
	return json.Marshal(j)
}
