// Package role runs the parts of a benchmark as processes of their own: the
// program executes itself again as `PROGRAM -role NAME`, and parent and child
// talk in lines of JSON through two pipes.
//
// The child gets its arguments, prepares, and says that it is ready; then it does
// one operation at a time as the parent asks. It ends when the parent closes
// the pipe or dies.
package role

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// Func is a role: it prepares, calls p.Serve, and cleans up.
type Func func(ctx context.Context, p *Proc) error

// Flag is the first argument of a process that plays a role.
const Flag = "-role"

// The child's ends of the pipes, first and second of exec.Cmd.ExtraFiles.
const (
	fdRequests = 3
	fdAnswers  = 4
)

// request is what the parent asks for; answer what it gets.
type request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Value json.RawMessage `json:"value,omitempty"`
	Err   string          `json:"err,omitempty"`
}

// exitGrace is how long a child whose parent is gone may take to clean up.
const exitGrace = 50 * time.Second

// Main plays a role and ends the process, if the arguments ask for one.
// Otherwise it returns at once. Programs and tests call it first of all.
func Main(roles map[string]Func) {
	if len(os.Args) < 3 || os.Args[1] != Flag {
		return
	}
	name := os.Args[2]
	f, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "bench: no role %q\n", name)
		os.Exit(2)
	}
	if err := play(f); err != nil {
		fmt.Fprintf(os.Stderr, "bench role %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(f Func) error {
	in, out := os.NewFile(fdRequests, "requests"), os.NewFile(fdAnswers, "answers")
	if in == nil || out == nil {
		return errors.New("not started by the benchmark")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &Proc{out: json.NewEncoder(out), requests: make(chan request), ops: make(map[string]opFunc)}
	go p.read(in, cancel)
	req, ok := <-p.requests
	if !ok {
		return errors.New("no arguments")
	}
	p.args = req.Args
	err := f(ctx, p)
	if err != nil && ctx.Err() == nil {
		// The parent waits for an answer; this is the reason why none comes.
		_ = p.answer(nil, err)
	}
	return err
}

// opFunc is an operation with its arguments still encoded.
type opFunc func(ctx context.Context, args json.RawMessage) (any, error)

// Proc is the child's side of a role.
type Proc struct {
	args     json.RawMessage
	ops      map[string]opFunc
	out      *json.Encoder
	requests chan request
}

// read hands on the parent's lines until there are no more.
func (p *Proc) read(in io.Reader, cancel func()) {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		var req request
		if err != nil || json.Unmarshal(line, &req) != nil {
			break
		}
		p.requests <- req
	}
	time.AfterFunc(exitGrace, func() {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "bench: a role does not end:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		os.Exit(1)
	})
	cancel()
	close(p.requests)
}

// Args decodes the arguments of the role into v.
func (p *Proc) Args(v any) error { return json.Unmarshal(p.args, v) }

// Handle makes op known. A is what the parent gives, R what it gets.
func Handle[A, R any](p *Proc, op string, f func(ctx context.Context, args A) (R, error)) {
	p.ops[op] = func(ctx context.Context, raw json.RawMessage) (any, error) {
		var a A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
		}
		return f(ctx, a)
	}
}

// Serve says that the role is ready, with a value for the parent, and does
// what it is asked for until the parent is done.
func (p *Proc) Serve(ctx context.Context, ready any) error {
	Handle(p, opUsage, func(context.Context, struct{}) (time.Duration, error) { return selfCPU() })
	if err := p.answer(ready, nil); err != nil {
		return err
	}
	for req := range p.requests {
		f, ok := p.ops[req.Op]
		if !ok {
			if err := p.answer(nil, fmt.Errorf("no operation %q", req.Op)); err != nil {
				return err
			}
			continue
		}
		if err := p.answer(f(ctx, req.Args)); err != nil {
			return err
		}
	}
	return nil
}

func (p *Proc) answer(v any, err error) error {
	var a answer
	if err != nil {
		a.Err = err.Error()
	} else if a.Value, err = json.Marshal(v); err != nil {
		a.Err = err.Error()
	}
	return p.out.Encode(a)
}
