package afs

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/stellar/go-xdr/xdr3"
)

// Procedures of the BOZO service.
const (
	BOZOGetStatus         = 83
	BOZOEnumerateInstance = 84
	BOZOGetInstanceInfo   = 85
	BOZOGetInstanceParm   = 86
	BOZOListSUsers        = 89
	BOZOGetCellName       = 94
	BOZOGetCellHost       = 95
	BOZOInstall           = 105
	BOZOGetDates          = 107
	BOZOGetLog            = 112
)

// Running is the Goal of a process that is to run.
const Running = 1

// A ProcessStatus is bozo_status.
type ProcessStatus struct {
	Goal, FileGoal, Started, Starts          int32
	LastExit, LastError, ErrorCode, ErrorSig int32
	Flags                                    int32
	Spare                                    [8]int32
}

// Arguments and results of the procedures.
type (
	StatusResult struct {
		Goal        int32
		Description string
	}
	InstanceInfo struct {
		Type   string
		Status ProcessStatus
	}
	ParmArgs struct {
		Instance string
		Number   int32
	}
	Dates       struct{ New, Bak, Old int32 }
	InstallArgs struct {
		Path             string
		Size, Mode, Time int32
	}
)

// A Process is one that a BOZO service watches.
type Process struct {
	Name   string
	Status ProcessStatus
	Parms  []string
}

// maxFile is how large a file Install takes.
const maxFile = 256 << 20

// A BOZO is the data of a BOZO service, which watches nothing: it tells what it
// was told. Its files are in memory.
type BOZO struct {
	Cell      string
	Processes []Process
	// Admin reports whether the caller may read logs and install files; nil
	// allows everybody.
	Admin func(ctx context.Context) bool

	mu    sync.Mutex // guards files
	files map[string][]byte
}

// SetFile gives the service a file that GetLog sends.
func (b *BOZO) SetFile(path string, content []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.files == nil {
		b.files = map[string][]byte{}
	}
	b.files[path] = content
}

// File is a file that was installed or set.
func (b *BOZO) File(path string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, ok := b.files[path]
	return f, ok
}

// Service is the BOZO service on these data.
func (b *BOZO) Service() *Service {
	s := &Service{ID: BOZOService}
	handle(s, BOZOEnumerateInstance, func(_ context.Context, a *Int32) (*String, error) {
		if a.Value < 0 || int(a.Value) >= len(b.Processes) {
			return nil, BZDomain
		}
		return &String{b.Processes[a.Value].Name}, nil
	})
	handle(s, BOZOGetInstanceInfo, func(_ context.Context, a *String) (*InstanceInfo, error) {
		p, err := b.find(a.Value)
		if err != nil {
			return nil, err
		}
		return &InstanceInfo{"simple", p.Status}, nil
	})
	handle(s, BOZOGetStatus, func(_ context.Context, a *String) (*StatusResult, error) {
		p, err := b.find(a.Value)
		if err != nil {
			return nil, err
		}
		return &StatusResult{Goal: p.Status.Goal}, nil
	})
	handle(s, BOZOGetInstanceParm, func(_ context.Context, a *ParmArgs) (*String, error) {
		p, err := b.find(a.Instance)
		if err != nil {
			return nil, err
		}
		if a.Number < 0 || int(a.Number) >= len(p.Parms) {
			return nil, BZDomain
		}
		return &String{p.Parms[a.Number]}, nil
	})
	handle(s, BOZOListSUsers, func(context.Context, *Int32) (*String, error) { return nil, BZDomain })
	handle(s, BOZOGetCellName, func(context.Context, *None) (*String, error) { return &String{b.Cell}, nil })
	handle(s, BOZOGetCellHost, func(context.Context, *Int32) (*String, error) { return nil, BZDomain })
	handle(s, BOZOGetDates, func(context.Context, *String) (*Dates, error) { return &Dates{}, nil })
	s.raw(BOZOGetLog, b.getLog)
	s.raw(BOZOInstall, b.install)
	return s
}

func (b *BOZO) find(name string) (*Process, error) {
	for i := range b.Processes {
		if b.Processes[i].Name == name {
			return &b.Processes[i], nil
		}
	}
	return nil, BZNoEntry
}

func (b *BOZO) allowed(ctx context.Context) bool { return b.Admin == nil || b.Admin(ctx) }

// getLog answers with the file and a zero after it.
func (b *BOZO) getLog(ctx context.Context, args []byte) ([]byte, error) {
	var path String
	if decode(args, &path) != nil {
		return nil, UnmarshalFailed
	}
	if !b.allowed(ctx) {
		return nil, BZAccess
	}
	f, ok := b.File(path.Value)
	if !ok {
		return nil, BZNoEntry
	}
	return append(bytes.Clone(f), 0), nil
}

// install takes the file's bytes after its arguments.
func (b *BOZO) install(ctx context.Context, args []byte) ([]byte, error) {
	var a InstallArgs
	n, err := xdr.UnmarshalWithOptions(bytes.NewReader(args), &a, xdr.DecodeOptions{MaxInputLen: len(args), MaxDepth: 4})
	if err != nil {
		return nil, UnmarshalFailed
	}
	if !b.allowed(ctx) {
		return nil, BZAccess
	}
	content := args[n:]
	if a.Size < 0 || a.Size > maxFile || int(a.Size) != len(content) {
		return nil, fmt.Errorf("%d bytes, not %d", len(content), a.Size)
	}
	b.SetFile(a.Path, bytes.Clone(content))
	return nil, nil
}
